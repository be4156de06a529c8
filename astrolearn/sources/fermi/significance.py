"""Expected significance of simulated sources: which of them could be found at all.

A completeness against flux mixes sources in front of faint and bright backgrounds, hard and soft ones. The expected
(Asimov) test statistic says in one number how well a source stands out in its map.
"""

import astropy.units as u
import numpy as np

__all__ = ["AsimovSignificance"]

_SQUARE_R68 = 0.436  # 68 % radius of a Gaussian with a unit square's variance, sqrt(-2 ln(0.32)) / sqrt(12)


class AsimovSignificance:
    """
    Square root of the expected test statistic of sources in a counts map.

    Parameters
    ----------
    psf : `~astrolearn.sky.RadialPSF`
        With ``n_energy`` bins.
    pixel_size : float
        Side of the pixels in radians.

    Notes
    -----
    TS = 2 sum_bins integral [(s k + B) ln(1 + s k / B) - s k] dOmega (Cowan et al. 2011, EPJC 71, 1554, eq. 97, for a
    source profile k over a flat background density B), tabulated against s / B. Pixels and extensions widen k: its
    angles are stretched until the 68 % radius is the quadratic sum of those of the PSF, the pixel (0.436 of its side)
    and the source.
    """

    def __init__(self, psf, pixel_size):
        self._pixel = _SQUARE_R68 * pixel_size
        self._r68 = psf.containment_radius().to_value(u.rad)
        theta = psf.theta.to_value(u.rad)
        profile = psf.profile.value
        self._log_ratio = np.log(np.geomspace(1e-12, 1e4, 130))
        # every table row: integral [(q k + 1) ln(1 + q k) - q k] dOmega for k of one bin and q = s / B in sr
        solid_angle = 2 * np.pi * np.sin(theta) * np.gradient(theta)
        q = np.exp(self._log_ratio)[:, None]
        self._log_table = []
        for k in profile:
            x = q * k
            # for small x the difference cancels; the series is x^2/2 - x^3/6
            integrand = np.where(x < 1e-4, x**2 / 2 - x**3 / 6, (1 + x) * np.log1p(x) - x)
            self._log_table.append(np.log(integrand @ solid_angle))

    def __call__(self, npred, density, extension):
        """
        Significance of sources.

        Parameters
        ----------
        npred, density : array, shape (n_sources, n_energy)
            Expected photons of the source, and expected background photons per sr around it.
        extension : `~astropy.units.Quantity`, shape (n_sources,)
            68 % radius of the source.

        Returns
        -------
        array, shape (n_sources,)
        """
        extra = self._pixel**2 + extension.to_value(u.rad) ** 2
        ts = np.zeros(len(npred))
        for i, (r68, table) in enumerate(zip(self._r68, self._log_table, strict=True)):
            # stretching k by f is the same as raising B by f^2
            background = np.maximum(density[:, i], 1e-3) * (1 + extra / r68**2)
            ratio = np.maximum(npred[:, i] / background, 1e-300)
            ts += 2 * background * np.exp(np.interp(np.log(ratio), self._log_ratio, table))
        return np.sqrt(ts)
