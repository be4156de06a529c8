"""Simulated star fields: what a camera sees of stars, galaxies and nebulae, with the truth beside it.

Stars have power-law fluxes, are spread evenly or in clusters, and go through one PSF; galaxies have Sersic profiles and
go through the same. The sky may be bright on one side or nebulous. Photons are counted, the detector adds its artefacts
and its noise, and the gain makes numbers of it. How bright stars and artefacts are is said in standard deviations of
the sky, because that is what decides whether they can be found.
"""

from dataclasses import dataclass, field

import astropy.units as u
import numpy as np
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.table import QTable
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.signal import fftconvolve
from scipy.special import gammaincinv

from astrolearn.core.seeding import make_rng
from astrolearn.sources.optical.artefacts import Artefacts, add_cosmic_rays, add_trails, bleed, spoil_pixels
from astrolearn.sources.optical.psf import MoffatPSF, add_stars

__all__ = ["StarFieldSimulator", "effective_area"]

_MARGIN = 20  # pixels beyond the image from which stars still shine into it
_FAINTEST = 0.03  # standard deviations of the sky below which the wings of stars are cut
_NEBULA_SLOPE = -3.0  # of the power spectrum of diffuse emission (Gautier et al. 1992, AJ 103, 1313)
_PSF_REACH = 30  # pixels to each side of the centre, of the PSF that galaxies go through


@dataclass(frozen=True)
class StarFieldSimulator:
    """
    Simulate images of stars.

    Parameters
    ----------
    shape : tuple of int, optional
        Height and width in pixels.
    psf : MoffatPSF, EmpiricalPSF or callable, optional
        What a star looks like: the share of its light in pixels at (dx, dy) from it.
    n_stars : int, optional
        Stars within the image, of all significances.
    significance : tuple of float, optional
        Range of the stars' significance: flux over its error in the best filter, of a star alone on the sky.
    flux_index : float, optional
        Fluxes F are drawn from dN/dF ~ F^-flux_index within that range.
    n_clusters, clustered, cluster_radius : int, float, float, optional
        Number of star clusters, share of the stars in them, and their half-number radius in pixels (profile of
        Plummer 1911, MNRAS 71, 460).
    n_galaxies : int, optional
        Galaxies with Sersic profiles, n = 0.5 to 4, and half-light radii of 0.5 to 4 times the PSF's width.
    sky, read_noise, gain : float, optional
        Electrons per pixel of the sky; standard deviation of the readout in electrons; electrons per unit of the image.
    pedestal : float, optional
        Level that the electronics add, in units of the image.
    gradient, nebulosity : float, optional
        Amplitude of a tilt of the sky across the image, and standard deviation of diffuse emission, both in standard
        deviations of the noise.
    nebula_scale : float, optional
        Smallest scale of the diffuse emission, 1 sigma of a Gaussian in pixels.
    correlation : float, optional
        The noise is smoothed with a Gaussian of this 1 sigma, in pixels, as resampled images are.
    artefacts : Artefacts, optional
        Of the detector.
    uncertainty : bool, optional
        Whether the images carry the standard deviation of each pixel.
    unit : unit, optional
        Of the image. Default: adu.

    Examples
    --------
    >>> from astrolearn.sources.optical import StarFieldSimulator
    >>> (image,) = StarFieldSimulator((128, 128), n_stars=50).sample(random_state=1)
    >>> len(image.meta["sources"])
    50
    """

    shape: tuple = (1024, 1024)
    psf: object = field(default_factory=lambda: MoffatPSF(2.5))
    n_stars: int = 2000
    significance: tuple = (1.5, 3000.0)
    flux_index: float = 2.0
    n_clusters: int = 0
    clustered: float = 0.7
    cluster_radius: float = 30.0
    n_galaxies: int = 0
    sky: float = 300.0
    read_noise: float = 5.0
    gain: float = 1.5
    pedestal: float = 100.0
    gradient: float = 0.0
    nebulosity: float = 0.0
    nebula_scale: float = 20.0
    correlation: float = 0.0
    artefacts: Artefacts = field(default_factory=Artefacts)
    uncertainty: bool = False
    unit: object = u.adu

    def sample(self, n=1, random_state=None):
        """
        Simulate images.

        Parameters
        ----------
        n : int, optional
            How many.
        random_state : int, `numpy.random.Generator`, `numpy.random.RandomState` or None, optional
            Seed.

        Returns
        -------
        list of `~astropy.nddata.CCDData`
            In single precision. ``meta["sources"]`` is the truth, a QTable: ``x_centroid``, ``y_centroid`` (0-based
            pixel centres), ``flux`` (in the image's unit), ``significance`` and ``kind``: ``"star"``; ``"saturated"``,
            a star whose core, or a neighbour's, is full; ``"galaxy"``. ``meta["SATURATE"]`` is the level above which
            pixels are full, where there is one, and ``meta["fwhm"]`` the width of the PSF, if it says so.
        """
        rng = make_rng(random_state)
        return [self._draw(rng) for _ in range(n)]

    def _draw(self, rng):
        noise = np.sqrt(self.sky + self.read_noise**2)
        background = self._background(noise, rng)
        x, y = self._positions(rng)
        significance = self._power_law(len(x), rng)
        local = np.sqrt(background[_at(background.shape, x, y)] + self.read_noise**2)
        flux = significance * local * np.sqrt(effective_area(self.psf))
        image = background.astype(np.float64)
        add_stars(image, self.psf, x, y, flux, _FAINTEST * noise)
        galaxies = self._add_galaxies(image, noise, rng)
        full = self._expose(image, noise, rng)
        inside = (x >= -0.5) & (x < image.shape[1] - 0.5) & (y >= -0.5) & (y < image.shape[0] - 0.5)
        x, y, flux, significance = (column[inside] for column in (x, y, flux, significance))
        near_full = binary_dilation(full, np.ones((3, 3)))[_at(image.shape, x, y)]
        sources = QTable(
            {
                "x_centroid": np.append(x, galaxies["x"]),
                "y_centroid": np.append(y, galaxies["y"]),
                "flux": np.append(flux, galaxies["flux"]) / self.gain * u.Unit(self.unit),
                "significance": np.append(significance, galaxies["significance"]),
                "kind": np.append(np.where(near_full, "saturated", "star"), np.repeat("galaxy", len(galaxies["x"]))),
            }
        )
        return self._digitise(image, noise, sources, rng)

    def _expose(self, image, noise, rng):
        """From expected electrons to those that are there, in place; which pixels are full."""
        spoilt = self.artefacts
        add_trails(image, spoilt.trails, 0.2 * spoilt.strength * noise, getattr(self.psf, "fwhm", 3.0), rng)
        expected = image.copy()
        image[:] = rng.poisson(np.maximum(image, 0))
        if self.correlation:
            image[:] = expected + gaussian_filter(image - expected, self.correlation)
        charge = spoilt.strength * noise
        add_cosmic_rays(image, spoilt.cosmic_rays, charge, rng)
        full = np.zeros(image.shape, bool)
        if spoilt.full_well is not None:
            level = spoilt.full_well * noise
            full = bleed(image, level) if spoilt.bleeding else image > level
            np.minimum(image, level, out=image)
        spoil_pixels(image, spoilt.hot_pixels, spoilt.dead_pixels, spoilt.bad_columns, charge, rng)
        return full

    def _digitise(self, image, noise, sources, rng):
        variance = np.maximum(image, 0) + self.read_noise**2
        readout = rng.normal(0, self.read_noise, image.shape)
        image += gaussian_filter(readout, self.correlation) if self.correlation else readout
        meta = {"sources": sources, "gain": self.gain}
        if hasattr(self.psf, "fwhm"):
            meta["fwhm"] = self.psf.fwhm
        if self.artefacts.full_well is not None:
            # readout noise scatters full pixels around the full well
            meta["SATURATE"] = float((0.98 * self.artefacts.full_well * noise) / self.gain + self.pedestal)
        uncertainty = None
        if self.uncertainty:
            uncertainty = StdDevUncertainty((np.sqrt(variance) / self.gain).astype(np.float32), unit=self.unit)
        data = (image / self.gain + self.pedestal).astype(np.float32)
        return CCDData(data, unit=self.unit, uncertainty=uncertainty, meta=meta)

    def _background(self, noise, rng):
        """Electrons per pixel of all that is diffuse."""
        rows, columns = np.indices(self.shape, sparse=True)
        angle = rng.uniform(0, 2 * np.pi)
        tilt = np.cos(angle) * columns / self.shape[1] + np.sin(angle) * rows / self.shape[0]
        diffuse = self.gradient * tilt
        if self.nebulosity:
            wave = np.hypot(*np.meshgrid(np.fft.rfftfreq(self.shape[1]), np.fft.fftfreq(self.shape[0])))
            wave[0, 0] = np.inf
            power = wave**_NEBULA_SLOPE * np.exp(-((2 * np.pi * wave * self.nebula_scale) ** 2))
            white = np.fft.rfft2(rng.normal(size=self.shape))
            clouds = np.fft.irfft2(white * np.sqrt(power), s=self.shape)
            diffuse = diffuse + self.nebulosity * (clouds - clouds.min()) / clouds.std()
        return np.maximum(self.sky + noise * (diffuse - np.min(diffuse)), 1.0) * np.ones(self.shape)

    def _positions(self, rng):
        """Of the stars in the image and a margin around it; as many as asked for are in the image."""
        height, width = self.shape
        in_clusters = rng.binomial(self.n_stars, self.clustered) if self.n_clusters else 0
        n_field = self.n_stars - in_clusters
        around = (height + 2 * _MARGIN) * (width + 2 * _MARGIN) / (height * width) - 1
        parts = [(rng.uniform(-0.5, width - 0.5, n_field), rng.uniform(-0.5, height - 0.5, n_field))]
        n_around = rng.poisson(n_field * around)
        x, y = (rng.uniform(-_MARGIN, side + _MARGIN, 8 * n_around) for side in (width, height))
        outside = np.flatnonzero((x < -0.5) | (x > width - 0.5) | (y < -0.5) | (y > height - 0.5))[:n_around]
        parts.append((x[outside], y[outside]))
        if in_clusters:
            centre_x, centre_y = rng.uniform(0, width, self.n_clusters), rng.uniform(0, height, self.n_clusters)
            left = in_clusters
            while left:
                member = rng.integers(self.n_clusters, size=left)
                share = rng.random(left)
                radius = self.cluster_radius * np.sqrt(share / (1 - share))
                angle = rng.uniform(0, 2 * np.pi, left)
                x, y = centre_x[member] + radius * np.cos(angle), centre_y[member] + radius * np.sin(angle)
                inside = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
                parts.append((x[inside], y[inside]))
                left -= inside.sum()
        return (np.concatenate(axis) for axis in zip(*parts, strict=True))

    def _power_law(self, n, rng):
        low, high = self.significance
        slope = 1 - self.flux_index
        share = rng.random(n)
        if slope == 0:
            return low * (high / low) ** share
        return (low**slope + share * (high**slope - low**slope)) ** (1 / slope)

    def _add_galaxies(self, image, noise, rng):
        """Add galaxies in place; a dict of their x, y, flux and significance (that of a star of their flux)."""
        n = self.n_galaxies
        height, width = image.shape
        x, y = rng.uniform(-0.5, width - 0.5, n), rng.uniform(-0.5, height - 0.5, n)
        significance = self._power_law(n, rng) * 4
        flux = significance * noise * np.sqrt(effective_area(self.psf))
        if n:
            sharp = np.zeros_like(image)
            size = getattr(self.psf, "fwhm", 3.0) * np.exp(rng.uniform(np.log(0.5), np.log(4), n))
            index, axis_ratio = rng.uniform(0.5, 4, n), rng.uniform(0.3, 1, n)
            for i in range(n):
                profile = _Sersic(size[i], index[i], axis_ratio[i], rng.uniform(0, np.pi))
                _add_one(sharp, profile, x[i], y[i], flux[i], int(np.ceil(6 * size[i])))
            reach = np.arange(-_PSF_REACH, _PSF_REACH + 1)
            image += fftconvolve(sharp, self.psf(reach[None, :], reach[:, None]), mode="same")
        return {"x": x, "y": y, "flux": flux, "significance": significance}


class _Sersic:
    """Sersic profile (1963, BAAA 6, 41), its core softened by half a pixel."""

    def __init__(self, radius, index, axis_ratio, angle):
        self.radius, self.index, self.axis_ratio, self.angle = radius, index, axis_ratio, angle
        self.b = gammaincinv(2 * index, 0.5)

    def __call__(self, dx, dy):
        along = dx * np.cos(self.angle) + dy * np.sin(self.angle)
        across = dy * np.cos(self.angle) - dx * np.sin(self.angle)
        r = np.sqrt(along**2 * self.axis_ratio + across**2 / self.axis_ratio + 0.25)
        return np.exp(-self.b * (r / self.radius) ** (1 / self.index))


def _add_one(image, profile, x, y, flux, reach):
    """Add a profile, normalised over its stamp."""
    column, row = (int(np.rint(c)) + np.arange(-reach, reach + 1) for c in (x, y))
    light = profile((column - x)[None, :], (row - y)[:, None])
    light *= flux / light.sum()
    columns, rows = (column >= 0) & (column < image.shape[1]), (row >= 0) & (row < image.shape[0])
    image[np.ix_(row[rows], column[columns])] += light[np.ix_(rows, columns)]


def effective_area(psf):
    """
    Pixels whose noise a star competes with: 1 / sum(psf^2), of a star at a pixel's centre (King 1983, PASP 95, 163).

    Parameters
    ----------
    psf : callable
        See `StarFieldSimulator`.

    Returns
    -------
    float
        The error of a flux in the best filter is that of a pixel times the root of this.
    """
    reach = np.arange(-_PSF_REACH, _PSF_REACH + 1)
    return float(1 / np.sum(np.square(psf(reach[None, :], reach[:, None]))))


def _at(shape, x, y):
    """Indices of the pixels nearest to positions."""
    return tuple(np.clip(np.rint(c).astype(int), 0, side - 1) for c, side in zip((y, x), shape, strict=True))
