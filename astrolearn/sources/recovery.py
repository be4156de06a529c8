"""What a catalogue recovers of a simulated sky, by flux: the numbers by which point-source finders are compared.

Purity is told by the flux that was measured, because that is what one has of a detection; completeness by the true
flux. Fluxes are those above one energy, so that skies with different energy bins can be compared.
"""

import astropy.units as u
import numpy as np
from sklearn.isotonic import IsotonicRegression

from astrolearn.core.inputs import as_quantity
from astrolearn.sky.energy import parse_edges

__all__ = ["FLUX_BINS", "complete_above", "flux_above"]

FLUX_BINS = np.array([0.695, 1.27, 2.34, 4.28, 7.85, 14.4, 26, 1e4]) * 1e-10 / u.cm**2 / u.s
"""Bins of the photon flux above 1 GeV in which Panes et al. (2021) give purity and completeness; the last is open."""


def flux_above(catalogue, energy="1 GeV"):
    """
    Photon flux above an energy, from a catalogue's fluxes in energy bins.

    Parameters
    ----------
    catalogue : `~astropy.table.Table`
        From `~astrolearn.PointSourceFinder`, with ``bin_flux`` and ``meta["energy_edges"]``.
    energy : `~astropy.units.Quantity`, str or float, optional
        One of the edges. A bare number is in GeV.

    Returns
    -------
    `~astropy.units.Quantity`
        In 1 / (cm2 s).

    Raises
    ------
    ValueError
        If there are no fluxes, or the energy is not an edge.
    """
    energy = as_quantity(energy, u.GeV, "energy")
    if "bin_flux" not in catalogue.colnames or "energy_edges" not in catalogue.meta:
        raise ValueError("the catalogue has no fluxes in energy bins: the map had no exposure or no energy edges")
    edges = parse_edges(catalogue.meta["energy_edges"])
    first = np.flatnonzero(np.isclose(edges[:-1].to_value(u.GeV), energy.value, rtol=1e-3))
    if len(first) == 0:
        raise ValueError(f"{energy:g} is not the lower edge of an energy bin; edges are {edges:g}")
    return catalogue["bin_flux"][:, first[0]:].sum(axis=1).to(1 / u.cm**2 / u.s)


def complete_above(flux, found, level=0.9):
    """
    Smallest flux at which a share of the sources is found.

    The chance of being found is taken to grow with flux, and nothing more is assumed (isotonic regression).

    Parameters
    ----------
    flux : `~astropy.units.Quantity`, shape (n_source,)
        True fluxes.
    found : bool array, shape (n_source,)
        Whether each source was found.
    level : float, optional
        The share.

    Returns
    -------
    `~astropy.units.Quantity`
        NaN if the share is reached nowhere.
    """
    if len(flux) == 0:
        return np.nan * flux.unit
    share = IsotonicRegression().fit_transform(flux.value, np.asarray(found, dtype=float))
    return min(flux[share >= level], default=np.nan * flux.unit)
