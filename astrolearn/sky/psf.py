"""Point-spread functions that depend on the distance from the source only.

Counts maps of one sky in several energy bins have a PSF per bin, and the tools here need it in four forms: as a
profile (to weigh pixels), as a containment radius (to choose a pixel size), as a beam window function (to convolve on
the sphere) and as random offsets (to draw photons). `RadialPSF` tabulates the profile once and answers all four.
"""

import astropy.units as u
import healpy as hp
import numpy as np
from scipy.integrate import cumulative_trapezoid

__all__ = ["GAUSSIAN_R68", "RadialPSF"]

GAUSSIAN_R68 = np.sqrt(-2 * np.log(1 - 0.68))
"""68 % containment radius of a round Gaussian, in sigma per axis."""


class RadialPSF:
    """
    Azimuthally symmetric PSF in one or more energy bins.

    Parameters
    ----------
    theta : `~astropy.units.Quantity`, shape (n_theta,)
        Increasing angles from the source, starting at 0. An angle unit; a bare array is taken in degrees.
    profile : `~astropy.units.Quantity` or array, shape (n_energy, n_theta)
        PSF value at ``theta``. Any normalisation; it is rescaled so that its integral over solid angle is 1.

    Raises
    ------
    ValueError
        If the shapes disagree, an angle is not increasing, or a profile is negative, not finite or zero everywhere.
    """

    def __init__(self, theta, profile):
        theta = u.Quantity(theta, u.deg)
        rad = theta.to_value(u.rad).astype(float)
        values = np.atleast_2d(np.asarray(getattr(profile, "value", profile), dtype=float))
        if rad.ndim != 1 or values.ndim != 2 or values.shape[1] != rad.size:
            raise ValueError(f"theta {rad.shape} and profile {values.shape} do not fit: give (n,) and (n_energy, n)")
        if rad[0] != 0 or not np.all(np.diff(rad) > 0):
            raise ValueError("theta must start at 0 and increase")
        if not np.all(np.isfinite(values)) or values.min() < 0:
            raise ValueError("the PSF profile must be finite and not negative")
        cumulative = cumulative_trapezoid(values * 2 * np.pi * np.sin(rad), rad, axis=1, initial=0)
        if np.any(cumulative[:, -1] <= 0):
            raise ValueError("a PSF profile is zero everywhere")
        self._rad = rad
        self._profile = values / cumulative[:, -1:]
        self._containment = cumulative / cumulative[:, -1:]

    @classmethod
    def gaussian(cls, r68):
        """
        Gaussian PSFs.

        Parameters
        ----------
        r68 : `~astropy.units.Quantity`, scalar or shape (n_energy,)
            68 % containment radii; bare numbers are degrees.

        Returns
        -------
        RadialPSF
        """
        sigma = np.atleast_1d(u.Quantity(r68, u.deg).to_value(u.rad)) / GAUSSIAN_R68
        if np.any(~(sigma > 0)):
            raise ValueError("r68 must be positive")
        x = np.concatenate([[0], np.geomspace(1e-3, 6, 400)])
        theta = np.unique(np.concatenate([s * x for s in np.unique(sigma)]))
        return cls(theta * u.rad, np.exp(-0.5 * (theta / sigma[:, None]) ** 2))

    @property
    def n_energy(self):
        """Number of energy bins."""
        return len(self._profile)

    @property
    def theta(self):
        """Tabulated angles, (n_theta,) in deg."""
        return np.rad2deg(self._rad) * u.deg

    @property
    def profile(self):
        """Tabulated PSF, (n_energy, n_theta) in 1/sr; its integral over solid angle is 1."""
        return self._profile / u.sr

    def __eq__(self, other):
        return (
            isinstance(other, RadialPSF)
            and np.array_equal(self._rad, other._rad)
            and np.array_equal(self._profile, other._profile)
        )

    __hash__ = None

    def __repr__(self):
        radii = ", ".join(f"{r:.3g}" for r in self.containment_radius().value)
        return f"<RadialPSF r68 = [{radii}] deg>"

    def evaluate(self, theta, energy_bin):
        """
        PSF of one bin, 0 beyond the table.

        Parameters
        ----------
        theta : array
            Angles in radians.
        energy_bin : int
            The bin.

        Returns
        -------
        array, shape of ``theta``
            In 1/sr.
        """
        return np.interp(theta, self._rad, self._profile[energy_bin], right=0.0)

    def containment_radius(self, fraction=0.68):
        """
        Radius that holds a share of the photons.

        Parameters
        ----------
        fraction : float, optional
            The share, 0 to 1.

        Returns
        -------
        `~astropy.units.Quantity`, shape (n_energy,)
            In degrees.
        """
        return np.rad2deg([np.interp(fraction, c, self._rad) for c in self._containment]) * u.deg

    def beam_window(self, lmax):
        """
        Window functions of spherical harmonics.

        Parameters
        ----------
        lmax : int
            Largest multipole.

        Returns
        -------
        array, shape (n_energy, lmax + 1)
            The windows b_l, with b_0 = 1.
        """
        windows = []
        for energy_bin in range(self.n_energy):
            # a grid fine at the core and wide enough for the tails: beam2bl integrates by trapezoids
            edge = np.interp(0.9995, self._containment[energy_bin], self._rad)
            core = np.interp(0.3, self._containment[energy_bin], self._rad)
            grid = np.unique(np.concatenate([np.linspace(0, 4 * core, 200), np.linspace(0, edge, 1500)]))
            window = hp.beam2bl(self.evaluate(grid, energy_bin), grid, lmax)
            windows.append(window / window[0])
        return np.array(windows)

    def pixelised(self, pixel_size):
        """
        The PSF as pixels see it: averaged over square pixels in all orientations.

        Parameters
        ----------
        pixel_size : float
            Side of a pixel, in radians.

        Returns
        -------
        RadialPSF
        """
        core = np.array([np.interp(0.2, c, self._rad) for c in self._containment]).min()
        n = int(np.clip(np.ceil(2 * pixel_size / core), 7, 41))
        sub = ((np.arange(n) + 0.5) / n - 0.5) * pixel_size
        dx, dy = (c.ravel() for c in np.meshgrid(sub, sub))
        angles = (np.arange(4) + 0.5) * np.pi / 16
        edge = max(np.interp(0.999, c, self._rad) for c in self._containment) + pixel_size
        theta = np.unique(np.concatenate([np.linspace(0, 4 * pixel_size, 120), np.geomspace(pixel_size, edge, 80)]))
        profile = np.empty((self.n_energy, theta.size))
        for i, t in enumerate(theta):
            d = np.hypot(t * np.cos(angles)[:, None] + dx, t * np.sin(angles)[:, None] + dy)
            profile[:, i] = [self.evaluate(d, b).mean() for b in range(self.n_energy)]
        return RadialPSF(theta * u.rad, profile)

    def sample(self, size, energy_bin, rng):
        """
        Draw the angular distances of photons from their source.

        Parameters
        ----------
        size : int
            Number of photons.
        energy_bin : int
            Their bin.
        rng : `numpy.random.Generator`
            Source of randomness.

        Returns
        -------
        array, shape (size,)
            In radians.
        """
        return np.interp(rng.uniform(size=size), self._containment[energy_bin], self._rad)

    def combine(self, groups, weights):
        """
        PSF of merged bins.

        Parameters
        ----------
        groups : list of sequences of int
            The bins that make up each new bin.
        weights : array, shape (n_energy,)
            Relative photon numbers of the old bins.

        Returns
        -------
        RadialPSF
        """
        weights = np.asarray(weights, dtype=float)
        merged = [np.average(self._profile[list(g)], axis=0, weights=weights[list(g)]) for g in groups]
        return RadialPSF(self._rad * u.rad, np.array(merged))
