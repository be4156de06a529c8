"""The real LAT maps of the northern Galactic hemisphere, year by year where photons have times, and known classes."""

import numpy as np
from astropy import units as u

from astrolearn.sky import bin_events_in_time, match, read_events
from astrolearn.sources.classes.labels import clean_labels
from benchmarks.classes.scores import ROWS
from benchmarks.fermi.data import EDGES_50, catalogue, map_50

__all__ = ["N_YEARS_50", "UNMATCHED", "real_labels", "yearly_50"]

N_YEARS_50 = 7
"""Parts of 80 months, as the simulator cuts them."""

UNMATCHED = ""
_MONTH = u.yr / 12
_MONTHS = 80


def yearly_50(data):
    """
    Photons above 50 GeV (P8 SOURCE, 80 months) in three bins and seven equal intervals of time, without a background.

    Returns
    -------
    list of SkyMap
        Of nside 512, NESTED, which add up to `benchmarks.fermi.data.map_50` in three bins.
    """
    total = map_50(data, groups=((0,), (1,), (2,)))
    events = read_events(data / "gamma" / "fermi_lat_50gev_events_north.fits.gz")
    start, end = events["TIME"].min(), events["TIME"].max()
    edges = start + np.arange(N_YEARS_50 + 1) * (_MONTHS / N_YEARS_50 * _MONTH)
    edges[-1] = max(edges[-1], end)
    years = bin_events_in_time(events, EDGES_50, total.nside, edges, nest=True)
    for one in years:
        one.mask, one.psf = total.mask, total.psf
        one.exposure = total.exposure / N_YEARS_50
    return years


def real_labels(found, data, radius):
    """
    Classes of detections on the real sky.

    Parameters
    ----------
    found : Table
        With ``coord``.
    data : Path
    radius : Quantity
        Of a counterpart among the sources of 4FGL-DR2, one to one.

    Returns
    -------
    labels : array of str, shape (n,)
        CLASS1 in the names used here; ``"other"`` for classes that are none of ours, such as globular clusters and
        binaries; and `UNMATCHED`.
    matches : Match
    """
    reference = catalogue(data, "4fgl_dr2")
    matches = match(found, reference, radius)
    labels = np.full(len(found), UNMATCHED, dtype="U7")
    names = clean_labels(np.asarray(reference["CLASS1"]).astype(str))
    names = np.where(np.isin(names, ROWS), names, "other")
    labels[matches.catalogue_index] = names[matches.reference_index]
    return labels, matches
