"""A field of sky in several bands, read part by part: brightness, sky and noise.

Nothing here copies an image: a mosaic may be a memory map, and what is asked for of it becomes float32, with NaN where
any band is not known: where it is masked, not finite, without a positive uncertainty where it has any, or exactly 0 in
an image that has many zeros, as mosaics have beyond what was observed.
"""

from dataclasses import dataclass, replace

import astropy.units as u
import numpy as np
from astropy.wcs import WCS
from scipy.ndimage import gaussian_filter1d

from astrolearn.sky.nddata import has_blank_zeros

__all__ = ["BandImages"]

_ALL = (slice(None), slice(None))
_STRIP = 512  # rows that are read at once
_SQUARE = 64  # pixels, in which the noise is about the same
_SAMPLE = 1_000_000  # pixels that tell the sky of an image
_HALF_NORMAL = 0.6745  # median of the absolute value of a standard normal deviate
_ROUNDS, _BINS, _KERNEL = 6, 20, 0.5  # of finding the densest value: bins per noise, smoothing in units of the noise


@dataclass
class BandImages:
    """
    Images of one field, as `~astrolearn.morphology.bands.read_bands` reads them.

    Parameters
    ----------
    names : tuple of str, (n_bands,)
        Of the bands.
    unit : `~astropy.units.Unit` or None
        Of all bands.
    wcs : `~astropy.wcs.WCS` or None
        Celestial.
    shape : tuple of int
        Height and width.
    data : list of array, (h, w)
        As they were given.
    factors : list of float
        From the unit of each image to ``unit``.
    masks : list of array of bool, (h, w), or None
        True where a pixel is not to be used.
    sigmas : list of array, (h, w), or None
        Standard deviations, in the unit of each image.

    Warns
    -----
    `~astropy.utils.exceptions.AstropyUserWarning`
        If an image has so many zeros that these are taken as not observed.
    """

    names: tuple
    unit: u.UnitBase | None
    wcs: WCS | None
    shape: tuple
    data: list
    factors: list
    masks: list
    sigmas: list

    def __post_init__(self):
        self._statistics = None
        self._zeros_are_blank = [has_blank_zeros(np.asarray(data[self._grid]), band)
                                 for data, band in zip(self.data, self.names, strict=True)]  # fmt: skip

    def __len__(self):
        return len(self.names)

    @property
    def _grid(self):
        """Every so many pixels, a million at most."""
        step = max(1, int(np.ceil(np.sqrt(self.shape[0] * self.shape[1] / _SAMPLE))))
        return slice(None, None, step), slice(None, None, step)

    def read(self, part=_ALL):
        """
        Brightness of a part.

        Parameters
        ----------
        part : tuple of two slices, optional
            Default: everything.

        Returns
        -------
        values : `numpy.ndarray`, float32 (n_bands, h, w)
            In ``unit``; NaN in all bands where one of them is not known.
        """
        values = np.stack([self._plane(i, part) for i in range(len(self))])
        values[:, np.isnan(values).any(axis=0)] = np.nan
        return values

    def light(self, part=_ALL):
        """
        Brightness of a part above the sky.

        Parameters
        ----------
        part : tuple of two slices, optional
            Default: everything.

        Returns
        -------
        values : `numpy.ndarray`, float32 (n_bands, h, w)
            As of `read`, less the level of `statistics`.
        """
        return self.read(part) - np.reshape(self.statistics[0], (-1, 1, 1)).astype(np.float32)

    def to(self, unit):
        """
        The same field in another unit; without a unit of its own it is taken to be in that.

        Parameters
        ----------
        unit : `~astropy.units.Unit`
            Of the training images.

        Returns
        -------
        field : BandImages
            On the same data.

        Raises
        ------
        astropy.units.UnitConversionError
            If the unit does not convert.
        """
        if self.unit is None or self.unit == unit:
            return self
        try:
            factor = self.unit.to(unit)
        except u.UnitConversionError as error:
            raise u.UnitConversionError(
                f"images has the unit '{self.unit}', which does not convert to '{unit}' of the training images"
            ) from error
        return replace(self, unit=unit, factors=[factor * own for own in self.factors])

    def first(self):
        """
        Brightness of the whole first band above the sky; the other bands are read in strips, for where they are known.

        Returns
        -------
        values : `numpy.ndarray`, float32 (h, w)
            As of ``light()[0]``.
        """
        values = np.empty(self.shape, np.float32)
        for first in range(0, self.shape[0], _STRIP):
            part = (slice(first, first + _STRIP), slice(None))
            values[part] = self.light(part)[0]
        return values

    def errors(self, part=_ALL):
        """
        Standard deviation of every pixel of a part: the image's uncertainty, or that of the sky where it has none.

        Parameters
        ----------
        part : tuple of two slices, optional
            Default: everything.

        Returns
        -------
        errors : `numpy.ndarray`, float32 (n_bands, h, w) or (n_bands, 1, 1)
            In ``unit``.
        """
        planes = [np.full((1, 1), self.statistics[1][i]) if sigma is None else np.asarray(sigma[part]) * self.factors[i]
                  for i, sigma in enumerate(self.sigmas)]  # fmt: skip
        return np.stack(np.broadcast_arrays(*planes)).astype(np.float32)

    def noise(self, part=_ALL):
        """
        Standard deviation of the sky's noise around every pixel of a part.

        Of an image with an uncertainty: its lower quartile in squares of 64 pixels, above which are sources, whose own
        noise may be part of it. Else that of the whole image.

        Parameters
        ----------
        part : tuple of two slices, optional
            Default: everything.

        Returns
        -------
        noise : `numpy.ndarray`, float32 (n_bands, h, w) or (n_bands, 1, 1)
            In ``unit``.

        Raises
        ------
        ValueError
            If an image has neither noise nor an uncertainty, or no pixels that are known in all bands.
        """
        planes = []
        for i, sigma in enumerate(self.sigmas):
            if sigma is None:
                planes.append(np.full((1, 1), self._known_noise(i)))
                continue
            (top, bottom), (left, right) = (axis.indices(n)[:2] for axis, n in zip(part, self.shape, strict=True))
            rows, columns = (range(first // _SQUARE, -(-last // _SQUARE)) for first, last in
                             ((top, bottom), (left, right)))  # fmt: skip
            squares = np.array([[self._quartile(i, row, column) for column in columns] for row in rows])
            plane = squares.repeat(_SQUARE, axis=0).repeat(_SQUARE, axis=1)
            y, x = rows[0] * _SQUARE, columns[0] * _SQUARE
            planes.append(plane[top - y : bottom - y, left - x : right - x])
        return np.stack(np.broadcast_arrays(*planes)).astype(np.float32)

    def _known_noise(self, i):
        noise, band = self.statistics[1][i], self.names[i]
        if np.isnan(noise):
            raise ValueError(f"the image in {band} has no pixels that are valid in all bands: the others are masked, "
                             "or not finite")
        if noise == 0:
            raise ValueError(f"the image in {band} has no noise (most of its pixels are equal): give its uncertainty")
        return noise

    def _quartile(self, band, row, column):
        """Lower quartile of the uncertainty in a square of the image; 1 where nothing is known, nor observed."""
        part = tuple(slice(i * _SQUARE, (i + 1) * _SQUARE) for i in (row, column))
        sigma = np.asarray(self.sigmas[band][part], float)
        sigma = sigma[(sigma > 0) & np.isfinite(sigma)]
        return np.quantile(sigma, 0.25) * self.factors[band] if sigma.size else 1.0

    @property
    def statistics(self):
        """
        Level and noise of the sky in each band, two lists of float.

        Of at most a million pixels on a regular grid; NaN if none of them is known, and a noise of 0 if most are equal.
        """
        if self._statistics is None:
            self._statistics = tuple(zip(*map(_sky, self.read(self._grid)), strict=True))
        return self._statistics

    def _plane(self, i, part):
        with np.errstate(over="ignore"):
            values = np.asarray(self.data[i][part]).astype(np.float32)
        if self._zeros_are_blank[i]:
            values[values == 0] = np.nan
        if self.factors[i] != 1:
            values *= np.float32(self.factors[i])
        values[~np.isfinite(values)] = np.nan
        if self.masks[i] is not None:
            values[np.asarray(self.masks[i][part])] = np.nan
        if self.sigmas[i] is not None:
            sigma = np.asarray(self.sigmas[i][part])
            values[~((sigma > 0) & np.isfinite(sigma))] = np.nan
        return values


def _sky(values):
    """
    Level and noise of the sky: where values are densest, and how they scatter below.

    Sources are above it, and may fill half of a small image, where a clipped median is no longer that of the sky.
    """
    values = np.sort(values[np.isfinite(values)])
    if not values.size:
        return np.nan, np.nan
    level, noise = np.median(values), 0.0
    for _ in range(_ROUNDS):
        below = values[: np.searchsorted(values, level)]
        noise = float(np.median(level - below)) / _HALF_NORMAL if below.size else 0.0
        if not noise > 0:
            break
        edges = np.arange(level - 4 * noise, level + 4 * noise, noise / _BINS)
        density = gaussian_filter1d(np.diff(np.searchsorted(values, edges)).astype(float), _BINS * _KERNEL)
        level = edges[density.argmax()] + noise / _BINS / 2
    return float(level), noise
