"""
Skies as the regressor handles them: the histogram of all pixels of the images of one sky.

Cutouts of one sky share its counts and are small pieces of evidence on them, so whatever is learnt or predicted is a
matter of skies.
"""

from dataclasses import dataclass

import astropy.units as u
import numpy as np

from astrolearn.core.inputs import to_float
from astrolearn.counts.features import cumulative_histogram

__all__ = ["Skies", "group_rows", "read_targets"]


_SAME_NOISE = 1.05
_LEVELLED = 10_000  # pixels, from which on the median of an image is its level


@dataclass
class Skies:
    """
    Skies in numbers.

    Attributes
    ----------
    cumulative : `numpy.ndarray`, float64 (n, n_bins + 1)
        Fractions of pixels below `features.EDGES`.
    n_pixels : `numpy.ndarray`, float64 (n,)
    noise : `numpy.ndarray`, float64 (n,)
        Jy/beam.
    """

    cumulative: np.ndarray
    n_pixels: np.ndarray
    noise: np.ndarray

    def __len__(self):
        return len(self.n_pixels)

    @classmethod
    def pool(cls, images, rows):
        """
        Pool images.

        Parameters
        ----------
        images : RadioImages
        rows : list of `numpy.ndarray` of int
            Which images each sky has.

        Returns
        -------
        skies : Skies

        Raises
        ------
        ValueError
            If the images of one sky differ in their noise.
        """
        for row in rows:
            low, high = images.noise[row].min(), images.noise[row].max()
            if high > _SAME_NOISE * low:
                raise ValueError(f"images of one group have noise from {low:.3g} to {high:.3g}: pixels are pooled in "
                                 "units of the noise, so give each its own group")
        # the level of a single image is taken off with the median of the histogram
        values = [[images.values[i] if len(row) == 1 else _above_its_level(images.values[i]) for i in row]
                  for row in rows]  # fmt: skip
        noise = np.array([images.noise.value[row].mean() for row in rows])
        cumulative = [cumulative_histogram(*pair)[0] for pair in zip(values, noise, strict=True)]
        n_pixels = [sum(np.count_nonzero(~np.isnan(image)) for image in parts) for parts in values]
        return cls(np.array(cumulative), np.array(n_pixels, float), noise)

    @classmethod
    def join(cls, parts):
        """All skies of several."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts])
                     for name in ("cumulative", "n_pixels", "noise")))  # fmt: skip

    def take(self, rows):
        """Some of the skies."""
        return Skies(self.cumulative[rows], self.n_pixels[rows], self.noise[rows])


def _above_its_level(image):
    """Interferometers do not measure the level, which differs from field to field; small ones are left as they are."""
    return image - np.nanmedian(image) if np.count_nonzero(~np.isnan(image)) >= _LEVELLED else image


def group_rows(groups, n_images):
    """
    Find which images belong together.

    Parameters
    ----------
    groups : array-like, (n_images,) or None
        The sky of each image; `None`: each its own.
    n_images : int

    Returns
    -------
    names : `numpy.ndarray`, (n_skies,)
        In the order of their first images.
    rows : list of `numpy.ndarray` of int

    Raises
    ------
    ValueError
        If there is not one for each image.
    """
    groups = np.arange(n_images) if groups is None else np.asarray(groups)
    if groups.shape != (n_images,):
        raise ValueError(f"groups has the shape {groups.shape}; expected ({n_images},), one for each image of X")
    names, first, sky = np.unique(groups, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return names[order], [np.flatnonzero(sky == k) for k in order]


def read_targets(y, rows, n_images, n_bins):
    """
    Read the counts of each sky.

    Parameters
    ----------
    y : `~astropy.units.Quantity` or array-like, (n_images, n_bins)
        Plain numbers in 1/(Jy sr).
    rows : list of `numpy.ndarray` of int
        Which images each sky has.
    n_images, n_bins : int

    Returns
    -------
    log_n : `numpy.ndarray`, float64 (n_skies, n_bins)

    Raises
    ------
    astropy.units.UnitConversionError
        If the unit does not convert.
    ValueError
        If the shape is another, counts are not positive, or differ between images of one sky.
    """
    if y is None:
        raise ValueError("y is needed: the counts of each image; only a RadioSkySimulator knows them itself")
    y = to_float(y, 1 / (u.Jy * u.sr), "y", shape=(n_images, n_bins), dtype=np.float64)
    if (y <= 0).any():
        raise ValueError(f"y must be positive (counts of a model, not numbers of sources found), but has {y.min():g}")
    log_n = np.log10(y)
    if any(np.ptp(log_n[row], axis=0).max() > 1e-4 for row in rows):
        raise ValueError("y differs between images of one group: cutouts of one sky have the same counts")
    return np.array([log_n[row[0]] for row in rows])
