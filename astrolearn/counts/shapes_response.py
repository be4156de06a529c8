"""
What extended sources do to the pixels around them: the kernel of P(D) for a population of shapes.

P(D) is linear in the sky that a source covers at each level. So random shapes of one flux density act as one beam whose
levels are those of all their images together.
"""

import numpy as np

from astrolearn.counts.beam_response import BeamResponse
from astrolearn.counts.catalogues import RESOLVED, draw_shapes

__all__ = ["ShapesResponse"]

_SHAPES = 100  # of each group of neighbouring flux densities
_PER_WIDTH = 5  # samples per standard deviation of the beam
_REACH = 5.7  # standard deviations: down to 1e-7 of the peak
_GROUP = 4  # neighbouring flux densities that share shapes


class ShapesResponse(BeamResponse):
    """
    The kernel K(y) of a Gaussian beam and sources with the shapes of `catalogues.draw_shapes`.

    Parameters
    ----------
    beam : `~astropy.units.Quantity`, str, float or a pair
        Full width at half maximum, or major and minor; plain numbers in arcsec. Sources are turned at random, and an
        elliptical beam is taken as the round one of the same area.
    frequency : float
        In GHz.
    """

    def __init__(self, beam, frequency):
        super().__init__(beam)
        self._frequency = frequency

    def kernel(self, frequency, flux):
        """See `BeamResponse.kernel`."""
        points = super().kernel(frequency, flux)
        extended = _Extended(self.solid_angle, self._frequency).kernel(frequency, flux)
        return np.where(flux > RESOLVED, extended, points)


class _Extended(BeamResponse):
    """Of the sources that are extended; those fainter are given the shapes of the faintest."""

    def __init__(self, solid_angle, frequency):
        self.solid_angle = solid_angle
        self._frequency = frequency
        self._psf = ()  # levels are sampled

    def _steps(self, flux):
        columns = np.arange(len(flux))
        rng = np.random.default_rng(0)
        start = np.searchsorted(flux, RESOLVED, side="right")
        for first in range(start, len(flux), _GROUP):
            group = columns[first if first > start else 0 : first + _GROUP]
            middle = np.sqrt(flux[first] * flux[min(first + _GROUP, len(flux)) - 1])
            yield group, self._levels(self._images(middle, rng))

    def _images(self, flux, rng):
        """Levels of sampled images of random shapes, (n,); ``_sky`` is set to the sky of one sample."""
        width = np.sqrt(self.solid_angle / (2 * np.pi))
        step = width / _PER_WIDTH
        self._sky = step**2 / _SHAPES
        pixel = np.rad2deg(step) * 3600
        centre = np.zeros(_SHAPES)
        values = []
        shapes = draw_shapes(centre, centre, np.full(_SHAPES, flux), pixel, self._frequency, rng)
        for i in range(_SHAPES):
            x, y, share = type(shapes)(*(column[i : i + 1] for column in shapes)).points()
            shift = rng.random(2) - 0.5
            reach = _REACH * _PER_WIDTH
            axes = [np.arange(np.floor(p.min() - reach), np.ceil(p.max() + reach) + 1) + s
                    for p, s in zip((x, y), shift, strict=True)]
            along, across = (np.exp(-((axis[:, None] - p) ** 2) / (2 * _PER_WIDTH**2))
                             for axis, p in zip(axes, (x, y), strict=True))
            values.append(((across * (share / flux)) @ along.T).ravel())
        return np.concatenate(values)
