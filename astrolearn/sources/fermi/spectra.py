"""Photon fluxes of source spectra in energy bins, for many sources at once.

The two families of the LAT catalogues have no closed integrals, and a simulated sky has tens of thousands of sources,
so the integrals are Gauss-Legendre sums in log energy over arrays of (source, bin, node).
"""

import numpy as np

__all__ = ["bin_integrals", "log_parabola", "normalised_counts", "plec", "quadrature"]

_NODES_PER_DECADE = 10
_FLUX_RANGE = (1.0, 2000.0)  # GeV: catalogue fluxes are above 1 GeV; what lies above 2 TeV is negligible
_BLOCK = 4000  # sources integrated at a time: bounds the memory of (source, bin, node)


def log_parabola(energy, index, beta, pivot):
    """
    Log-parabola, (E / E0)^(-index - beta ln(E / E0)): 4FGL (Abdollahi et al. 2020), eq. 2, without its amplitude.

    Parameters
    ----------
    energy, index, beta, pivot : array
        Energies and ``pivot`` E0 in GeV; broadcast together.

    Returns
    -------
    array
    """
    x = np.log(energy / pivot)
    return np.exp(-x * (index + beta * x))


def plec(energy, index, expfactor, exp_index, pivot):
    """
    Power law with (super-)exponential cutoff: 4FGL (Abdollahi et al. 2020), eq. 4, without its amplitude.

    (E / E0)^-index exp(a (E0^b - E^b)), where the catalogue's factor a = ``expfactor`` counts energies in MeV.

    Parameters
    ----------
    energy, index, expfactor, exp_index, pivot : array
        Energies and ``pivot`` E0 in GeV; broadcast together.

    Returns
    -------
    array
    """
    cutoff = expfactor * ((1e3 * pivot) ** exp_index - (1e3 * energy) ** exp_index)
    return np.exp(-index * np.log(energy / pivot) + cutoff)


def _shape(energy, spectra):
    """dN/dE of each source, up to a factor: ``energy`` (...) GeV to (n, ...)."""
    def column(name):
        return np.asarray(spectra[name], dtype=float).reshape(-1, *[1] * np.ndim(energy))

    out = log_parabola(energy, column("index"), column("beta"), column("pivot_energy"))
    pulsar = np.asarray(spectra["expfactor"]) > 0
    if pulsar.any():
        out[pulsar] = plec(energy, *(column(name)[pulsar]
                                     for name in ("index", "expfactor", "exp_index", "pivot_energy")))
    return out


def quadrature(edges):
    """
    Gauss-Legendre nodes and weights of energy bins, in log energy.

    Parameters
    ----------
    edges : array, shape (n_bins + 1,)
        GeV.

    Returns
    -------
    energy, weights : array, shape (n_bins, n_nodes)
        ``(f(energy) * weights).sum(1)`` integrates f over each bin.
    """
    log_edges = np.log(edges)
    n_nodes = int(np.ceil(4 + _NODES_PER_DECADE * np.diff(log_edges).max() / np.log(10)))
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    half = 0.5 * np.diff(log_edges)[:, None]
    energy = np.exp(log_edges[:-1, None] + half * (1 + nodes))
    return energy, energy * half * weights


def bin_integrals(function, edges):
    """
    Integrals of a function over energy bins.

    Parameters
    ----------
    function : callable
        From energies (n_bins, n_nodes) in GeV to values (..., n_bins, n_nodes) per GeV.
    edges : array, shape (n_bins + 1,)
        GeV.

    Returns
    -------
    array, shape (..., n_bins)
    """
    energy, weights = quadrature(edges)
    return (function(energy) * weights).sum(-1)


def normalised_counts(spectra, edges, exposure):
    """
    Expected photons per bin for a photon flux of 1 cm-2 s-1 above 1 GeV.

    Parameters
    ----------
    spectra : mapping of arrays
        Columns ``index``, ``beta``, ``expfactor`` (0: a log-parabola), ``exp_index`` and ``pivot_energy`` [GeV].
    edges : array, shape (n_bins + 1,)
        GeV.
    exposure : callable
        From energies [GeV] to exposure [cm2 s].

    Returns
    -------
    array, shape (n_sources, n_bins)
    """
    counts = []
    for start in range(0, len(spectra["index"]), _BLOCK):
        block = {name: np.asarray(spectra[name])[start:start + _BLOCK]
                 for name in ("index", "beta", "expfactor", "exp_index", "pivot_energy")}
        flux = bin_integrals(lambda e, block=block: _shape(e, block), np.array(_FLUX_RANGE))
        counts.append(bin_integrals(lambda e, block=block: _shape(e, block) * exposure(e), edges) / flux)
    return np.concatenate(counts) if counts else np.empty((0, len(edges) - 1))
