"""
Families of count models: priors around reference counts, from which training skies are drawn.

A network returns what its training skies have in common. If all of them are (1 + s0/S)^alpha times one curve, it reads
alpha off the bright sources and "measures" the faint ones with it, which no image can; the cure is a prior with a free
number for every node. Each family draws vectors of log10 n at nodes of log10 S and states its mean and width there.
"""

import astropy.units as u
import numpy as np

from astrolearn.core.inputs import as_quantity, to_float
from astrolearn.core.seeding import make_rng
from astrolearn.counts.models import LOG_FLUX, CountModel, ReferenceCounts

__all__ = ["GaussianProcess", "IndependentBins", "MixedFamily", "TalkFamily"]

_AT_ONCE = 4096


class _Family:
    """Log-normal or other offsets from reference counts at nodes; subclasses draw the offsets."""

    def __init__(self, reference, log_flux):
        if reference is None:
            reference = ReferenceCounts(frequency="944 MHz")
        elif not isinstance(reference, CountModel):
            raise ValueError(f"reference={reference!r} is not a CountModel, such as ReferenceCounts()")
        log_flux = LOG_FLUX if log_flux is None else log_flux
        self.reference = reference
        self.log_flux = CountModel.from_logs(log_flux, np.zeros(len(log_flux))).log_flux
        self._base = reference.log_density(self.log_flux)

    @property
    def mean(self):
        """Mean of log10 n at each node, (n_nodes,)."""
        return self._base.copy()

    def sample(self, n, random_state=None):
        """
        Draw count models.

        Parameters
        ----------
        n : int
            How many.
        random_state : int, Generator or None, optional

        Returns
        -------
        log_n : `numpy.ndarray`, float64 (n, n_nodes)
            Log10 of the counts in 1/(Jy sr) at the nodes `log_flux`; ``CountModel.from_logs(family.log_flux, row)``
            makes a model of a row.
        """
        return self._base + self._offsets(n, make_rng(random_state))

    def __repr__(self):
        return f"<{type(self).__name__}: {len(self.log_flux)} nodes around {self.reference!r}>"


class TalkFamily(_Family):
    """
    The family of Regis et al. (2022, talk in Barolo): n = (1 + s0/S)^alpha n_ref.

    s0 is log-uniform and alpha uniform. The slides give no ranges; the defaults are our choice, which makes the family
    0.4 dex wide at 0.1 uJy, as the others are.

    Parameters
    ----------
    reference : `CountModel`, optional
        Default: ``ReferenceCounts(frequency="944 MHz")``.
    s0 : pair of `~astropy.units.Quantity` or float, optional
        Plain numbers are in Jy. Default: 1e-6 to 1e-4 Jy.
    alpha : pair of float, optional
        Default: (-0.35, 0.35).
    log_flux : array-like of float, (n_nodes,), optional
        Nodes, log10 of the flux density in Jy. Default: -7.5 to 0 in steps of 0.5.

    Attributes
    ----------
    log_flux, mean, sigma : `numpy.ndarray`, (n_nodes,)
        Nodes, and mean and standard deviation of log10 n there.
    """

    def __init__(self, reference=None, *, s0=(1e-6, 1e-4), alpha=(-0.35, 0.35), log_flux=None):
        super().__init__(reference, log_flux)
        s0 = as_quantity(s0, u.Jy, "s0").value
        alpha = to_float(alpha, None, "alpha", shape=(2,), dtype=np.float64)
        if s0.shape != (2,) or not 0 < s0[0] <= s0[1] or alpha[0] > alpha[1]:
            raise ValueError("s0 and alpha must be pairs (low, high), and s0 positive")
        self._log_s0, self._alpha = np.log10(s0), alpha

    @property
    def mean(self):
        """Mean of log10 n at each node, (n_nodes,)."""
        return self._base + self._alpha.mean() * self._moments()[0]

    @property
    def sigma(self):
        """Standard deviation of log10 n at each node, (n_nodes,)."""
        first, second = self._moments()
        low, high = self._alpha
        variance = (high - low) ** 2 / 12 * second + self._alpha.mean() ** 2 * (second - first**2)
        return np.sqrt(np.maximum(variance, 0))  # rounding, where s0 is fixed

    def _moments(self):
        """Mean and mean square of log10(1 + s0/S) over s0 at each node, by Gauss-Legendre quadrature."""
        x, weight = np.polynomial.legendre.leggauss(32)
        low, high = self._log_s0
        values = self._log_ratio((low + high) / 2 + (high - low) / 2 * x)
        return [weight / 2 @ values**order for order in (1, 2)]

    def _log_ratio(self, log_s0):
        return np.log1p(10 ** (log_s0[:, None] - self.log_flux)) / np.log(10)

    def _offsets(self, n, rng):
        log_s0 = rng.uniform(*self._log_s0, n)
        return rng.uniform(*self._alpha, n)[:, None] * self._log_ratio(log_s0)


class IndependentBins(_Family):
    """
    Normal offsets of log10 n, independent at each node.

    Parameters
    ----------
    reference : `CountModel`, optional
        Default: ``ReferenceCounts(frequency="944 MHz")``.
    sigma : float or array-like, (n_nodes,), optional
        Standard deviation in dex. Default: 0.4.
    log_flux : array-like of float, (n_nodes,), optional
        Nodes, log10 of the flux density in Jy. Default: -7.5 to 0 in steps of 0.5.

    Attributes
    ----------
    log_flux, mean, sigma : `numpy.ndarray`, (n_nodes,)
        Nodes, and mean and standard deviation of log10 n there.
    """

    def __init__(self, reference=None, *, sigma=0.4, log_flux=None):
        super().__init__(reference, log_flux)
        self.sigma = _widths(sigma, len(self.log_flux))

    def _offsets(self, n, rng):
        return self.sigma * rng.standard_normal((n, len(self.log_flux)))


class GaussianProcess(_Family):
    """
    Smooth offsets of log10 n: Gaussian processes over log10 S.

    The covariance of two nodes is sigma^2 exp(-d^2 / 2 length^2) at a distance of d dex; each draw has a length of its
    own, uniform in a range.

    Parameters
    ----------
    reference : `CountModel`, optional
        Default: ``ReferenceCounts(frequency="944 MHz")``.
    sigma : float or array-like, (n_nodes,), optional
        Standard deviation in dex. Default: 0.4.
    length : pair of float, optional
        Range of the correlation length in dex. Default: (0.5, 2).
    log_flux : array-like of float, (n_nodes,), optional
        Nodes, log10 of the flux density in Jy. Default: -7.5 to 0 in steps of 0.5.

    Attributes
    ----------
    log_flux, mean, sigma : `numpy.ndarray`, (n_nodes,)
        Nodes, and mean and standard deviation of log10 n there.
    """

    def __init__(self, reference=None, *, sigma=0.4, length=(0.5, 2), log_flux=None):
        super().__init__(reference, log_flux)
        self.sigma = _widths(sigma, len(self.log_flux))
        self._length = to_float(length, None, "length", shape=(2,), dtype=np.float64)
        if not 0 < self._length[0] <= self._length[1]:
            raise ValueError("length must be a pair (low, high) of positive numbers")

    def _offsets(self, n, rng):
        n_nodes = len(self.log_flux)
        distance = (self.log_flux[:, None] - self.log_flux) ** 2
        out = np.empty((n, n_nodes))
        for start in range(0, n, _AT_ONCE):
            rows = slice(start, min(start + _AT_ONCE, n))
            length = rng.uniform(*self._length, rows.stop - start)
            # a millionth of the variance as white noise: long correlations are singular in double precision
            kernel = np.exp(-distance / (2 * length[:, None, None] ** 2)) + 1e-6 * np.eye(n_nodes)
            white = rng.standard_normal((len(length), n_nodes, 1))
            out[rows] = (np.linalg.cholesky(kernel) @ white)[..., 0]
        return self.sigma * out


class MixedFamily(_Family):
    """
    A mixture of families in equal parts.

    A network trained on it recognises which of the families a sky is of by its bright sources, and extrapolates where
    that is a smooth one: for tests rather than as a prior.

    Parameters
    ----------
    reference : `CountModel`, optional
        Default: ``ReferenceCounts(frequency="944 MHz")``.
    families : sequence of families, optional
        Any with one and the same `log_flux`. Default: `TalkFamily`, `IndependentBins` and `GaussianProcess`, each with
        its defaults around ``reference``.
    log_flux : array-like of float, (n_nodes,), optional
        Nodes of the default families, log10 of the flux density in Jy. Default: -7.5 to 0 in steps of 0.5.

    Attributes
    ----------
    log_flux, mean, sigma : `numpy.ndarray`, (n_nodes,)
        Nodes, and mean and standard deviation of log10 n there.
    """

    def __init__(self, reference=None, *, families=None, log_flux=None):
        if families is None:
            families = [kind(reference, log_flux=log_flux) for kind in (TalkFamily, IndependentBins, GaussianProcess)]
        elif reference is not None or log_flux is not None:
            raise ValueError("families have their own reference and log_flux: give either those or families")
        if not families:
            raise ValueError("families is empty")
        first = families[0]
        if not all(np.array_equal(family.log_flux, first.log_flux) for family in families):
            raise ValueError("the families of a mixture must have the same log_flux")
        super().__init__(first.reference, first.log_flux)
        self.families = tuple(families)

    @property
    def mean(self):
        """Mean of log10 n at each node, (n_nodes,)."""
        return np.mean([family.mean for family in self.families], axis=0)

    @property
    def sigma(self):
        """Standard deviation of log10 n at each node, (n_nodes,)."""
        square = np.mean([family.sigma**2 + family.mean**2 for family in self.families], axis=0)
        return np.sqrt(square - self.mean**2)

    def sample(self, n, random_state=None):
        """
        Draw count models, each from a family chosen at random.

        Parameters
        ----------
        n : int
            How many.
        random_state : int, Generator or None, optional

        Returns
        -------
        log_n : `numpy.ndarray`, float64 (n, n_nodes)
            Log10 of the counts in 1/(Jy sr) at the nodes `log_flux`.
        """
        rng = make_rng(random_state)
        chosen = rng.integers(len(self.families), size=n)
        out = np.empty((n, len(self.log_flux)))
        for index, family in enumerate(self.families):
            rows = chosen == index
            out[rows] = family.sample(int(rows.sum()), rng)
        return out


def _widths(sigma, n_nodes):
    values = to_float(sigma, None, "sigma", dtype=np.float64)
    if values.shape not in ((), (n_nodes,)) or (values < 0).any():
        raise ValueError(f"sigma must be one non-negative number or one for each of {n_nodes} nodes")
    return np.broadcast_to(values, (n_nodes,)).copy()
