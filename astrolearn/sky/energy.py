"""Energy bins: reading their edges from users, finding which old bins make up a new one, and weighing them.

Maps, images and transformers all merge bins, and must agree on what a merged exposure or PSF means: the one that a
source with a typical gamma-ray spectrum sees.
"""

from itertools import pairwise

import astropy.units as u
import numpy as np

from astrolearn.core.inputs import as_quantity

__all__ = ["SPECTRAL_INDEX", "edge_groups", "merge", "merge_psf", "node_weights", "parse_edges", "power_law_weights"]

SPECTRAL_INDEX = 2.2
"""Photon index that weighs energies inside a bin; the median in 4FGL-DR2 (Ballet et al. 2020) is 2.3."""


def parse_edges(edges, name="energy_edges"):
    """
    Edges of contiguous energy bins, in the form they are used inside.

    Parameters
    ----------
    edges : `~astropy.units.Quantity`, str or sequence
        A Quantity (n_energy + 1,), a list of Quantities, a string such as ``"0.3, 1, 3, 10 GeV"``, or a bare sequence
        of numbers, which are taken in GeV.
    name : str
        What to call it in error messages.

    Returns
    -------
    `~astropy.units.Quantity`, shape (n_energy + 1,)
        A Quantity keeps its unit; all else is in GeV.

    Raises
    ------
    `~astropy.units.UnitConversionError`
        If the unit is not one of energy.
    ValueError
        If there are fewer than two edges, or they are not positive, finite and increasing.
    """
    if isinstance(edges, str):
        *numbers, unit = edges.replace(",", " ").split() or [""]
        edges = [f"{number} {unit}" for number in numbers]
    if getattr(edges, "unit", None) is None:
        edges = as_quantity(list(edges) if np.iterable(edges) else [edges], u.GeV, name)
    edges = u.Quantity(edges, dtype=float)
    if not edges.unit.is_equivalent(u.GeV):
        raise u.UnitConversionError(f"{name} has the unit '{edges.unit}', which does not convert to 'GeV'")
    if edges.ndim != 1 or edges.size < 2:
        raise ValueError(f"{name} must be one-dimensional with at least two values, not of shape {edges.shape}")
    if not (np.all(np.isfinite(edges.value)) and edges.value[0] > 0 and np.all(np.diff(edges.value) > 0)):
        raise ValueError(f"{name} must be positive, finite and increasing: {edges}")
    return edges


def same_edges(one, other, tolerance=1e-3):
    """
    Whether two sets of bin edges are the same, but for rounding.

    Parameters
    ----------
    one, other : `~astropy.units.Quantity`
        Bin edges.
    tolerance : float
        Relative tolerance, as of `edge_groups`.

    Returns
    -------
    bool
    """
    if len(one) != len(other):
        return False
    return bool(np.all(np.abs(one.to_value(other.unit) / other.value - 1) <= tolerance))


def edge_groups(old, new, tolerance=1e-3):
    """
    Which old bins make up each new bin.

    Parameters
    ----------
    old, new : `~astropy.units.Quantity`
        Bin edges. Each new edge must be one of the old ones, to a relative ``tolerance``; the new range may be smaller.
    tolerance : float
        Relative tolerance. FITS files of single precision keep 1e-7, but headers may be rounded.

    Returns
    -------
    list of range
        The old bins in each new bin.

    Raises
    ------
    ValueError
        If a new edge is none of the old ones.
    """
    values = new.to_value(old.unit)
    nearest = np.abs(np.log(old.value[None, :] / values[:, None])).argmin(axis=1)
    wrong = np.abs(old.value[nearest] / values - 1) > tolerance
    if wrong.any():
        raise ValueError(f"cannot merge energy bins: {new[wrong]} are not among the edges of the map, {old}")
    if np.any(np.diff(nearest) == 0):
        raise ValueError(f"cannot merge energy bins: {new} has the same edge of the map twice, {old}")
    return [range(first, last) for first, last in pairwise(nearest)]


def merge(array, groups, weights=None):
    """
    Merge energy bins of an array.

    Parameters
    ----------
    array : array or `~astropy.units.Quantity`, shape (n_energy, ...)
        Values per bin. A bool array, a mask, is true where it is in any of the merged bins.
    groups : list of sequences of int
        The consecutive old bins of each new one.
    weights : array, shape (n_energy,), optional
        Weights of an average. Default: the sum.

    Returns
    -------
    array or `~astropy.units.Quantity`, shape (len(groups), ...)
        Of the same type; a view of ``array`` if there is nothing to merge.
    """
    if all(len(group) == 1 for group in groups):
        return array[groups[0][0]:groups[-1][0] + 1]
    slices = [slice(group[0], group[-1] + 1) for group in groups]
    if array.dtype == bool:
        merged = [array[s].any(axis=0) for s in slices]
    elif weights is None:
        merged = [array[s].sum(axis=0) for s in slices]
    else:
        merged = [np.tensordot((weights[s] / weights[s].sum()).astype(array.dtype), array[s], 1) for s in slices]
    return np.stack(merged)


def merge_psf(psf, groups, weights, exposure=None):
    """
    Merge energy bins of a PSF.

    Parameters
    ----------
    psf : RadialPSF
        PSF of the old bins.
    groups : list of sequences of int
        The old bins of each new one.
    weights : array, shape (n_energy,)
        Relative photon fluxes of a source in the old bins.
    exposure : array or `~astropy.units.Quantity`, shape (n_energy, ...), optional
        Exposure; its mean multiplies the weights.

    Returns
    -------
    RadialPSF
    """
    if exposure is not None:
        mean = np.array([np.mean(np.asarray(row), dtype=float) for row in exposure])
        # never nothing, so that a bin without exposure still has a PSF
        weights = weights * mean.clip(min=max(mean.max(), 1) * 1e-9)
    return psf.combine(groups, weights)


def power_law_weights(edges, index=SPECTRAL_INDEX):
    """
    Relative photon flux of a power law dN/dE ~ E**-index in each bin, shape (n_energy,), summing to 1.

    Parameters
    ----------
    edges : `~astropy.units.Quantity`
        Bin edges.
    index : float
        Photon index, not 1.
    """
    integral = edges.value ** (1 - index)
    weights = np.diff(integral)
    return weights / weights.sum()


def node_weights(edges, energies, index=SPECTRAL_INDEX):
    """
    Weights that average a quantity tabulated at some energies over bins, for a power-law spectrum.

    Parameters
    ----------
    edges : `~astropy.units.Quantity`, shape (n_energy + 1,)
        Bin edges.
    energies : `~astropy.units.Quantity`, shape (n_node,)
        Increasing energies of the table, which is taken to be linear in log(energy) between them.
    index : float
        Photon index of dN/dE.

    Returns
    -------
    array, shape (n_energy, n_node)
        Each row sums to 1.

    Raises
    ------
    ValueError
        If the bins reach beyond the table (by more than 1 %), or its energies do not increase.
    """
    nodes = np.log(energies.to_value(edges.unit))
    limits = np.log(edges.value)
    if len(nodes) == 0 or not np.all(np.diff(nodes) > 0):
        raise ValueError("the energies of the table do not increase")
    if limits[0] < nodes[0] - 0.01 or limits[-1] > nodes[-1] + 0.01:
        raise ValueError(f"the energies reach from {energies[0]:.4g} to {energies[-1]:.4g}, "
                         f"the bins of the map from {edges[0]:.4g} to {edges[-1]:.4g}")
    # photons per log(energy), at the middles of slices that are thin against both the bins and the table
    n_slice = 100
    fraction = (np.arange(n_slice) + 0.5) / n_slice
    log_energy = limits[:-1, None] + np.diff(limits)[:, None] * fraction
    photons = np.exp((1 - index) * (log_energy - limits[:-1, None]))
    photons /= photons.sum(axis=1, keepdims=True)
    hats = [np.interp(log_energy, nodes, unit_vector) for unit_vector in np.eye(len(nodes))]
    return np.einsum("nes,es->en", hats, photons)
