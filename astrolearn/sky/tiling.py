"""Tiles of an image with a halo: a fully convolutional network gives the same answer tile by tile as all at once.

A pixel of the answer depends on what lies within the network's reach of it. A tile is therefore read with a halo at
least as wide, of which the answer is thrown away. Pooling ties a network to a grid: tiles and halos begin at multiples
of ``step``, and an image whose sides are none is continued, below and to the right, by pixels that were not observed.
Only there and at the true borders does the network pad by itself, in both ways of reading alike.
"""

from collections import namedtuple

__all__ = ["Tile", "tiles"]

Tile = namedtuple("Tile", ["inner", "outer", "pad", "crop"])
Tile.__doc__ = """
A part of an image; each field but ``pad`` is a tuple of two slices.

Attributes
----------
inner
    The pixels of the image that this tile answers for.
outer
    The pixels of the image to read for it.
pad
    Pixels to add to those: pairs (before, after) for each axis, as `numpy.pad` takes them.
crop
    Where the inner pixels lie in what was read and padded.
"""


def tiles(shape, *, size, halo, step):
    """
    Cut an image into tiles, row by row.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the image.
    size : int
        Side of the inner part of a tile; those at the far borders may be smaller.
    halo : int
        Pixels around it that can influence the answer.
    step : int
        What the sides of an input must be multiples of; ``size`` and ``halo`` are rounded up to it.

    Yields
    ------
    Tile
    """
    size, halo = (-(-length // step) * step for length in (size, halo))
    rows, columns = (list(_spans(length, size, halo, step)) for length in shape[-2:])
    for row in rows:
        for column in columns:
            yield Tile(*zip(row, column, strict=True))


def _spans(length, size, halo, step):
    """Along one axis: inner, outer, pad and crop."""
    padded = -(-length // step) * step
    for start in range(0, length, size):
        stop = min(start + size, length)
        first, last = max(0, start - halo), min(start + size + halo, padded)
        outer = slice(first, min(last, length))
        yield slice(start, stop), outer, (0, last - outer.stop), slice(start - first, stop - first)
