"""How the fluxes of gamma-ray sources change from year to year.

Blazars flicker on all time scales, with more power on longer ones; seen once a year, the logarithm of the flux is well
described by a first-order autoregressive process, whose amplitude differs from source to source. Pulsars, nebulae and
remnants shine steadily. That difference is half of what tells a faint blazar from a faint pulsar.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["AMPLITUDES", "YEARLY_CORRELATION", "light_curves"]


@dataclass(frozen=True)
class Amplitude:
    """
    Distribution of the standard deviation of log10(yearly flux) over the sources of a class.

    ``median`` in dex, ``scatter`` of its log10 from source to source, and the largest, ``most``, in dex.
    """

    median: float
    scatter: float
    most: float = 0.8

    def sample(self, n, rng):
        """Standard deviations (n,) in dex."""
        return np.minimum(self.median * 10 ** (self.scatter * rng.normal(size=n)), self.most)


AMPLITUDES = {"bll": Amplitude(0.185, 0.24), "fsrq": Amplitude(0.405, 0.13)}
"""
Amplitude by class; classes that are not named are steady.

Chosen so that ten years look as in ``Flux_History`` of 4FGL-DR2 (sources at b > 0 whose yearly fluxes are known to
20 %, statistical errors subtracted): scatter within ten years 0.15 dex (16th to 84th percentile 0.08 to 0.25) for BL
Lacs, 0.30 (0.20 to 0.38) for FSRQs; 5th and 95th percentile of yearly over mean flux 0.38 and 1.79, 0.17 and 2.61.
Pulsars, remnants and pulsar wind nebulae: less than 0.02 dex, the systematic error of the catalogue.
"""

YEARLY_CORRELATION = 0.55
"""
Correlation of log fluxes one year apart.

After subtraction of each source's mean over ten years, which biases it low, the same sources show 0.29 (BL Lacs) and
0.35 (FSRQs).
"""


def light_curves(classes, n_years, random_state=None):
    """
    Draw yearly fluxes relative to the mean over all years.

    Parameters
    ----------
    classes : array of str, shape (n_sources,)
        Class of each source.
    n_years : int
        Number of years.
    random_state : int, `numpy.random.Generator` or None
        Seed.

    Returns
    -------
    array, shape (n_sources, n_years)
        Positive; each row has a mean of one.
    """
    rng = np.random.default_rng(random_state)
    classes = np.asarray(classes)
    sigma = np.zeros(len(classes))
    for name, amplitude in AMPLITUDES.items():
        mine = classes == name
        sigma[mine] = amplitude.sample(mine.sum(), rng)
    steps = rng.normal(size=(len(classes), n_years))
    curve = np.empty_like(steps)
    for year in range(n_years):
        before = curve[:, year - 1] if year else 0.0
        share = YEARLY_CORRELATION if year else 0.0
        curve[:, year] = share * before + np.sqrt(1 - share**2) * steps[:, year]
    flux = 10 ** (sigma[:, None] * curve)
    return flux / flux.mean(axis=1, keepdims=True)
