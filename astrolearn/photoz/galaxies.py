"""What an input is, a table, images or both, and its rows as plain arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from hashlib import blake2b
from pathlib import Path

import numpy as np
from astropy.nddata import NDData
from astropy.table import Table

__all__ = ["Galaxies", "fingerprints", "split_input"]


def split_input(X):
    """
    Tell apart the table and the images of an input.

    Parameters
    ----------
    X : object
        See `PhotoZRegressor.fit`.

    Returns
    -------
    table, images : object or None

    Raises
    ------
    ValueError
        If it is empty, or there are several columns of images.
    """
    if isinstance(X, (list, tuple)) and not X:
        raise ValueError("X is empty")
    if len(getattr(X, "shape", ())) == 1 and len(X) and isinstance(np.asarray(X)[0], (str, Path)):
        return None, [Path(path) for path in np.asarray(X)]
    if isinstance(X, Mapping):
        unknown = X.keys() - {"table", "images"}
        if unknown or not X:
            raise ValueError(f"a dict given as X has 'table' and 'images', not {', '.join(map(str, X)) or 'nothing'}")
        return X.get("table"), X.get("images")
    if isinstance(X, Table):
        columns = [name for name in X.colnames if len(getattr(X[name], "shape", ())) > 2]
        if len(columns) > 1:
            raise ValueError(f"X has several columns of images: {', '.join(columns)}; keep one")
        if columns:
            table = X.copy(copy_data=False)
            table.remove_columns(columns)
            return (table if table.colnames else None), X[columns[0]]
        return X, None
    if isinstance(X, (list, tuple)) and isinstance(X[0], (NDData, str, Path)):
        return None, X
    n_axes = np.ndim(X[0]) + 1 if isinstance(X, (list, tuple)) else getattr(X, "ndim", 2)
    return (None, X) if n_axes in (3, 4) else (X, None)


def fingerprints(*arrays):
    """Text per row, the same for rows that are equal to the last bit in all of the arrays (n, ...)."""
    rows = (b"".join(part.tobytes() for part in parts) for parts in zip(*arrays, strict=True))
    # not Python's hash, which differs from process to process
    return np.array([blake2b(row, digest_size=16).hexdigest() for row in rows])


@dataclass
class Galaxies:
    """
    Rows of an input.

    Attributes
    ----------
    values : `numpy.ndarray`, float64 (n, n_columns), or None
        Of the table; NaN where missing. Of images alone, their photometry.
    undetected : `numpy.ndarray`, bool (n, n_columns), or None
        Where a value is missing because the galaxy was too faint.
    images : `numpy.ndarray`, float32 (n, n_channels, height, width), or None
    image_kind : `astrolearn.photoz.images.ImageKind` or None
        What the numbers of the images are.
    photometry : `numpy.ndarray`, float64 (n, n_values), or None
        Of the images.
    """

    values: np.ndarray | None = None
    undetected: np.ndarray | None = None
    images: np.ndarray | None = None
    image_kind: tuple | None = None
    photometry: np.ndarray | None = None

    def __len__(self):
        return len(self.images if self.values is None else self.values)

    def add_images(self, images, kind):
        """Images beside the table; there must be as many."""
        if self.values is not None and len(images) != len(self.values):
            raise ValueError(f"table and images differ in length: {len(self.values)} and {len(images)}")
        self.images, self.image_kind = images, kind

    def prepare_images(self, images, photometry):
        """Images as the network takes them, and the light in them."""
        self.images, self.photometry = images, photometry
        if self.values is None:
            self.values, self.undetected = photometry, np.zeros(photometry.shape, bool)

    def take(self, rows):
        """The rows with these numbers, as copies."""
        return Galaxies(*(part[rows] if isinstance(part, np.ndarray) else part for part in self._parts()))

    def seen_again(self, rows, rng):
        """Copies of some rows, of each of which some columns (but not all) are taken out."""
        again = self.take(rows)
        n_columns = self.values.shape[1]
        n_missing = rng.integers(1, max(n_columns // 2, 1) + 1, len(rows))
        order = rng.permuted(np.tile(np.arange(n_columns), (len(rows), 1)), axis=1)
        out = order < n_missing[:, None]
        again.values[out], again.undetected[out] = np.nan, False
        return again

    def joined(self, other):
        """These rows and then those."""
        parts = zip(self._parts(), other._parts(), strict=True)
        return Galaxies(*(np.concatenate(pair) if isinstance(pair[0], np.ndarray) else pair[0] for pair in parts))

    def _parts(self):
        return [getattr(self, part.name) for part in fields(self)]
