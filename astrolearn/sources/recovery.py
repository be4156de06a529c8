"""What a catalogue recovers of a simulated sky, by flux: the numbers by which point-source finders are compared.

Purity is told by the flux that was measured, because that is what one has of a detection; completeness by the true
flux. Fluxes are those above 1 GeV, so that skies with different energy bins can be compared.
"""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.table import QTable
from sklearn.isotonic import IsotonicRegression

from astrolearn.core.inputs import as_quantity
from astrolearn.sky import Match, match
from astrolearn.sky.energy import parse_edges

__all__ = ["FLUX_BINS", "Recovery", "complete_above", "flux_above", "recover"]

FLUX_BINS = np.array([0.695, 1.27, 2.34, 4.28, 7.85, 14.4, 26, np.inf]) * 1e-10 / u.cm**2 / u.s
"""Bins of the photon flux above 1 GeV in which Panes et al. (2021, A&A 656, A62) tell purity and completeness."""


@dataclass(frozen=True)
class Recovery:
    """
    What `recover` measures.

    Parameters
    ----------
    match : `~astrolearn.sky.Match`
        Detections and true sources.
    by_flux : `~astropy.table.QTable`
        Of `FLUX_BINS`, as of `~astrolearn.sky.Match.by`.
    complete_above : `~astropy.units.Quantity`
        Flux at which 90 % of the sources are found, see `complete_above`.
    """

    match: Match
    by_flux: QTable
    complete_above: u.Quantity


def recover(catalogue, truth, radius, *, min_latitude=0):
    """
    Compare a catalogue with the sources of the simulated sky in which it was found.

    Parameters
    ----------
    catalogue : `~astropy.table.Table`
        From `~astrolearn.PointSourceFinder`; one of its energy bins begins at 1 GeV.
    truth : `~astropy.table.Table`
        The sources to be found: ``coord`` and ``flux``, the photon flux above 1 GeV.
    radius : `~astropy.units.Quantity`, str or float
        See `~astrolearn.sky.match`.
    min_latitude : `~astropy.units.Quantity`, str or float, optional
        Take sources of at least this absolute Galactic latitude only; a bare number is in degrees.

    Returns
    -------
    Recovery
    """
    measured = QTable(catalogue, copy=False)
    measured["flux_above_1gev"] = flux_above(catalogue, "1 GeV")
    latitude = as_quantity(min_latitude, u.deg, "min_latitude")
    parts = [table[np.abs(table["coord"].galactic.b) >= latitude] for table in (measured, truth)]
    result = match(*parts, radius)
    return Recovery(result, result.by("flux_above_1gev", FLUX_BINS, reference_quantity="flux"),
                    complete_above(parts[1]["flux"], result.found))


def flux_above(catalogue, energy):
    """
    Photon flux above an energy, from a catalogue's fluxes in energy bins.

    Parameters
    ----------
    catalogue : `~astropy.table.Table`
        From `~astrolearn.PointSourceFinder`, with ``bin_flux`` and ``meta["energy_edges"]``.
    energy : `~astropy.units.Quantity`, str or float
        Lower edge of an energy bin; a bare number is in GeV.

    Returns
    -------
    `~astropy.units.Quantity`
        In 1 / (cm2 s).

    Raises
    ------
    ValueError
        If there are no such fluxes, or the energy is no such edge.
    """
    energy = as_quantity(energy, u.GeV, "energy")
    if "bin_flux" not in catalogue.colnames or "energy_edges" not in catalogue.meta:
        raise ValueError("the catalogue has no fluxes in energy bins: the map had no exposure or no energy edges")
    edges = parse_edges(catalogue.meta["energy_edges"].strip("[").replace("]", ""))
    first = np.flatnonzero(np.isclose(edges[:-1].to_value(u.GeV), energy.value, rtol=1e-3))
    if len(first) == 0:
        raise ValueError(f"{energy:g} is not the lower edge of one of the energy bins, {edges}")
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
