"""
From images to what the networks see: one axis order, one size, numbers of order one.

Sky images span a range of ten thousand between the noise and the centre of a galaxy, so those in flux are stretched by
an inverse hyperbolic sine that begins at the noise of the training images. Images of integers, such as JPGs, have been
stretched by whoever made them and are only scaled.

Beside the pixels a network gets the light of the galaxy: a convolutional network takes many images to find out that
it should add up pixels before it compares bands.
"""

from pathlib import Path
from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.nddata import NDData
from scipy.ndimage import gaussian_filter

from astrolearn.core.inputs import to_float
from astrolearn.sky.fits_tools import column_unit

__all__ = [
    "ImageKind", "aperture_photometry", "check_images", "describe_images", "read_image_file", "read_images",
    "to_network",
]  # fmt: skip

SMALLEST = 16  # pixels
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")  # of pillow, with eight bits or fewer
_SAMPLE = 1000  # images from which the scales are found
_SIGNIFICANT = 2.0  # standard deviations of the border above it at which a pixel of the profile counts by half
_APERTURES = (16, 8, 4, 2)  # of the side: the radii of the circles are so many parts of it
_TOTAL = _APERTURES[2:]  # those that hold most of the light


class ImageKind(NamedTuple):
    """What the numbers of images are: whether they were integers, divided by 255 since, and their unit or None."""

    is_integer: bool
    unit: u.UnitBase | None


def read_images(X, channels="auto", unit=None):
    """
    Read images into one array.

    Parameters
    ----------
    X : array-like (n, c, h, w), (n, h, w, c) or (n, h, w), or list of images
        Images of a list, of one shape, are arrays, `~astropy.nddata.CCDData` or paths of JPG, PNG or FITS files.
    channels : {"auto", "first", "last"}, optional
        Where the channels are. ``"auto"``: the shorter of the two outer axes.
    unit : unit-like, optional
        That of the result. Default: that of the images.

    Returns
    -------
    images : `numpy.ndarray`, float32 (n, c, h, w)
        NaN where masked.
    kind : ImageKind
        Those that were integers, from 0 to 255, are divided by 255.

    Raises
    ------
    astropy.units.UnitConversionError
        If the unit is not that which was asked for.
    ValueError
        If the shapes differ or cannot be understood; it names them.
    """
    if isinstance(X, (list, tuple)):
        if not X:
            raise ValueError("X is empty: it has no images")
        X = [read_image_file(x) if isinstance(x, (str, Path)) else x for x in X]
        integer = [_nature(x)[1].kind in "iu" for x in X]
        if any(integer) and not all(integer):
            other = integer.index(not integer[0])
            raise ValueError(f"X has images of integers and of floating-point numbers: X[0] and X[{other}]")
    own, dtype = _nature(X)
    unit = own if unit is None else unit
    images = to_float(X, unit, "X", missing="keep")
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4:
        raise ValueError(f"X has the shape {images.shape}; images are (n, channels, height, width), "
                         "(n, height, width, channels) or (n, height, width)")
    if _are_last(images.shape, channels):
        images = np.moveaxis(images, -1, 1)
    is_integer = dtype.kind in "iu"
    if is_integer:
        low, high = np.nanmin(images), np.nanmax(images)
        if low < 0 or high > 255:
            raise ValueError(f"integer images must be from 0 to 255, as in a JPG; X has {low:g} to {high:g}. Pass "
                             "images in flux as floating-point numbers")
        images = images / np.float32(255)
    return np.ascontiguousarray(images), ImageKind(is_integer, None if unit is None else u.Unit(unit))


def read_image_file(path):
    """
    Read a JPG, PNG or FITS file.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    image : `numpy.ndarray`
        (h, w, c) of integers for pictures; as in the first image of the file for FITS.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read; the message names it.
    """
    path = Path(path)
    if ".fits" in path.suffixes or ".fit" in path.suffixes:
        try:
            with fits.open(path) as hdus:
                hdu = next((hdu for hdu in hdus if hdu.is_image and hdu.data is not None), None)
                if hdu is None:
                    raise ValueError(f"{path} has no image")
                data, text = np.array(hdu.data), hdu.header.get("BUNIT")
        except OSError as error:
            raise OSError(f"{path} cannot be read: {error}") from error
        try:
            return data if not text else u.Quantity(data, column_unit(text, None, "BUNIT"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            if picture.mode not in _MODES:
                raise ValueError(f"{path} has the mode {picture.mode}, not eight bits per channel")
            return np.asarray(picture.convert("L" if picture.mode in ("1", "L") else "RGB"))
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is not an image that can be read") from error


def check_images(images, image_size):
    """
    Side of the square to which images are cut.

    Parameters
    ----------
    images : `numpy.ndarray` (n, c, h, w)
    image_size : int or None
        Larger images are cut to their middle; `None` cuts nothing but a square.

    Returns
    -------
    size : int

    Raises
    ------
    ValueError
        If the images are too small.
    """
    height, width = images.shape[2:]
    size = min(height, width, image_size or height)
    if size < SMALLEST:
        raise ValueError(f"X has images of {height} x {width} pixels; at least {SMALLEST} x {SMALLEST} are needed")
    return size


def describe_images(images, kind, image_size):
    """
    What training images are like.

    Parameters
    ----------
    images, kind
        See `read_images`.
    image_size : int or None
        See `check_images`.

    Returns
    -------
    description : dict
        ``n_channels``, ``size``, ``is_integer``, ``unit``, and per channel the ``noise`` at which the stretch begins (0
        for none), the ``mean`` and the ``scale`` after it.
    """
    n, n_channels = images.shape[:2]
    size = check_images(images, image_size)
    sample = _middle(images[:: -(-n // _SAMPLE)], size)
    pixels = np.moveaxis(sample, 1, 0).reshape(n_channels, -1)
    if np.isnan(pixels).all(axis=1).any():
        raise ValueError(f"channel {np.flatnonzero(np.isnan(pixels).all(axis=1))[0]} of X has no valid pixel")
    noise = np.zeros(n_channels)
    if not kind.is_integer:
        middle = np.nanmedian(pixels, axis=1, keepdims=True)
        noise = 1.4826 * np.nanmedian(np.abs(pixels - middle), axis=1)
        noise = np.where(noise > 0, noise, np.nanstd(pixels, axis=1))
    stretched = _stretch(pixels.T, noise).T
    scale = np.nanstd(stretched, axis=1)
    return {
        "n_channels": n_channels, "size": size, "is_integer": bool(kind.is_integer),
        "unit": None if kind.unit is None else kind.unit.to_string(), "noise": noise,
        "mean": np.nanmean(stretched, axis=1), "scale": np.where(scale > 0, scale, 1.0),
    }  # fmt: skip


def to_network(images, kind, description, *, plain=False):
    """
    Images as the networks see them.

    Parameters
    ----------
    images, kind
        See `read_images`.
    description : dict
        Of the training images.
    plain : bool, optional
        Cut only, neither stretched nor scaled: what the published network takes.

    Returns
    -------
    images : `numpy.ndarray`, float32 (n, c, size, size)
        Missing pixels have the median of their image and channel.

    Raises
    ------
    ValueError
        If the images are not like those it was trained on.
    """
    n, n_channels, height, width = images.shape
    size = description["size"]
    if n_channels != description["n_channels"]:
        raise ValueError(f"X has {n_channels} channels; this was trained on {description['n_channels']}")
    if min(height, width) < size:
        raise ValueError(f"X has images of {height} x {width} pixels; this was trained on {size} x {size}")
    if kind.is_integer != description["is_integer"]:
        names = "floating-point numbers", "integers"
        raise ValueError(f"X has images of {names[kind.is_integer]}; this was trained on {names[not kind.is_integer]}")
    images = _middle(images, size)
    missing = np.isnan(images)
    if missing.any():
        flat = np.where(missing, np.nan, images).reshape(n, n_channels, -1)
        empty = missing.reshape(n, n_channels, -1).all(axis=2)
        if empty.any():
            raise ValueError(f"image {np.flatnonzero(empty.any(axis=1))[0]} of X has a channel without a valid pixel")
        images = np.where(missing, np.nanmedian(flat, axis=2)[:, :, None, None], images)
    if plain:
        return np.ascontiguousarray(images, dtype=np.float32)
    channel = (slice(None), None, None)
    stretched = _stretch(np.moveaxis(images, 1, -1), description["noise"])
    out = (np.moveaxis(stretched, -1, 1) - description["mean"][channel]) / description["scale"][channel]
    return np.ascontiguousarray(out, dtype=np.float32)


def aperture_photometry(images, description):
    """
    Light of the galaxy in the middle of each image: what a table of magnitudes would say.

    In flux, a galaxy has nearly the same profile in all channels, which then gives the best colours; how bright it is
    comes from all channels together. More columns would bring more noise than they say. Pictures of integers have
    little noise, and colours that change with the brightness: of these, each circle is taken in each channel.

    Parameters
    ----------
    images : `numpy.ndarray` (n, c, h, w)
        From `read_images`, of which `to_network` accepts the shape.
    description : dict
        Of the training images.

    Returns
    -------
    magnitudes : `numpy.ndarray`, float64 (n, c + 2) or, of integers, (n, 5 * c)
        Of each channel, weighted with the galaxy's own profile, and in circles. In flux, inverse hyperbolic sines of
        the light over its standard deviation; the circles have radii of 1/4 and 1/2 of the side. Of integers, weighted
        sums, and mean values of each channel in circles of 1/16, 1/8, 1/4 and 1/2. Missing pixels count as the mean of
        the others, in the profile as what it expects of them.
    """
    size, noise, is_integer = (description[key] for key in ("size", "noise", "is_integer"))
    noise = np.where(noise > 0, noise, 1.0)  # of integers, or of a channel that is constant
    scaled = _middle(images, size) / noise[:, None, None].astype(np.float32)
    there = ~np.isnan(scaled)
    if there.all():
        there = None
    else:
        scaled = np.where(there, scaled, np.float32(0))
    light = _profile_photometry(scaled, there)
    position = np.arange(size) - (size - 1) / 2
    radii = size / np.array(_APERTURES if is_integer else _TOTAL)
    circles = (np.hypot(position[:, None], position)[..., None] <= radii).astype(np.float32)
    n_pixels = circles.sum(axis=(0, 1))
    n_there = n_pixels if there is None else np.tensordot(there.astype(np.float32), circles, 2)
    mean = np.tensordot(scaled, circles, 2) / np.maximum(n_there, 1)
    if is_integer:
        return np.hstack([light, np.moveaxis(mean, 1, -1).reshape(len(mean), -1)]).astype(np.float64)
    total = (_shares(light)[..., None] * mean).sum(axis=1) * np.sqrt(n_pixels)
    return np.arcsinh(np.hstack([light, total])).astype(np.float64)


def _profile_photometry(scaled, there):
    """
    Light weighted with the galaxy's own profile in all channels together, in its standard deviations, (n, c).

    For one profile in all channels this is the best that can be done for the colours. The profile is the smoothed sum
    of the channels above the border of the image. A sharp threshold would lose its wings, so each pixel is held back by
    how little it stands out of the scatter at the border. The sum is made twice, the second time with each channel
    weighted as the galaxy shines in it: a faint channel must not choose the pixels where its own noise is high. What is
    not ``there``, which is `None` where all is, counts nowhere.
    """
    share = _shares(np.ones(scaled.shape[:2], np.float32))
    for _ in range(2):
        weight = np.einsum("ncij,nc->nij", scaled, share)
        if there is not None:
            seen = np.einsum("ncij,nc->nij", there, share**2)
            weight /= np.where(seen > 0, seen, 1.0)
        weight = gaussian_filter(weight, 1.0, axes=(1, 2))
        border = np.concatenate([weight[:, 0], weight[:, -1], weight[:, 1:-1, 0], weight[:, 1:-1, -1]], axis=1)
        level = np.median(border, axis=1)[:, None, None]
        spread = 1.4826 * np.median(np.abs(border - level[:, 0]), axis=1)[:, None, None]
        weight = np.maximum(weight - level, 0)
        weight *= weight**2 / np.maximum(weight**2 + (_SIGNIFICANT * spread) ** 2, np.finfo(np.float32).tiny)
        square = weight**2
        total = square.sum(axis=(1, 2))[:, None]
        light = np.einsum("ncij,nij->nc", scaled, weight) / np.sqrt(np.where(total > 0, total, 1.0))
        if there is not None:
            seen = np.einsum("ncij,nij->nc", there, square)
            light *= total / np.where(seen > 0, seen, 1.0)
        share = _shares(light)
    return light


def _shares(light):
    """Weights with which channels add up with the least noise, (n, c): their light, of a length of one."""
    share = np.maximum(light, 0)
    norm = np.sqrt((share**2).sum(axis=1, keepdims=True))
    return share / np.where(norm > 0, norm, 1.0)


def _nature(X):
    """Unit and type of the numbers, of an array or of the first image of a list."""
    first = X[0] if isinstance(X, (list, tuple)) else X
    unit = getattr(first, "unit", None)
    data = first.data if isinstance(first, NDData) else first
    return unit, np.asarray(getattr(data, "unmasked", data)).dtype


def _are_last(shape, channels):
    if channels != "auto":
        return channels == "last"
    if shape[1] == shape[3]:
        raise ValueError(f"X has the shape {shape}: say with channels='first' or 'last' where the channels are")
    return shape[3] < shape[1]


def _middle(images, size):
    top, left = ((length - size) // 2 for length in images.shape[2:])
    return images[:, :, top : top + size, left : left + size]


def _stretch(values, noise):
    """Inverse hyperbolic sine beyond the noise, which is given for the last axis; linear where that is 0."""
    return np.where(noise > 0, np.arcsinh(values / np.where(noise > 0, noise, 1.0)), values)
