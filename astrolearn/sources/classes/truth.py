"""What each detection in a simulated sky really is, so that a network can learn it.

A detection is true by the definition of `~astrolearn.PointSourceFinder`: it is matched one to one with a source that
could be seen. So of two detections beside one source only the closer one is real. Not so within an extended source,
which a search for points may find in several pieces: all of these are photons of the source, and have its class.

Of what is left, more than half lies on sources that should have been too faint, but had luck with their photons. To
call these fake would be wrong, for there they are; to ask for their class would be too much. They are neither,
``faint``.
"""

import astropy.units as u
import numpy as np

from astrolearn.core.inputs import as_quantity
from astrolearn.sky.matching import match, source_coords

from .labels import FAINT, FAKE, clean_labels

__all__ = ["true_classes"]


def true_classes(catalogue, sources, radius="0.3 deg", min_significance=2.5, faintest=0.5):
    """
    Classes of the detections in a simulated sky.

    Parameters
    ----------
    catalogue : `~astropy.table.Table` or `~astropy.coordinates.SkyCoord`
        Detections, with positions as `~astrolearn.sky.source_coords` reads them.
    sources : `~astropy.table.Table`
        The truth, such as ``sources`` of the maps of `~astrolearn.sources.fermi.LATSkySimulator`: positions likewise,
        ``class``, and where known the expected ``significance`` (of all years) and ``extension``, the 68 % radius
        (degrees where it has no unit), without which no source is extended.
    radius : `~astropy.units.Quantity`, str or float, default="0.3 deg"
        Largest separation of a detection and its source; a bare number is in degrees. The default is that of
        `~astrolearn.PointSourceFinder`, which takes 1.1 pixels where these are larger.
    min_significance : float, default=2.5
        Expected significance from which a source counts, as for `~astrolearn.PointSourceFinder`. Without the column
        ``significance``, all do.

    faintest : float, default=0.5
        Expected significance of the faintest sources that a detection may be owed to.

    Returns
    -------
    array of str, shape (n_detection,)
        ``class`` of the source that a detection is matched with (one to one, the closest pairs first), with pwn, snr
        and spp as ``pwn_snr``. Detections that are left over but lie within the 68 % radius of an extended source have
        its class, too (of several such sources, that of the nearest centre). Others are ``faint`` where a source below
        ``min_significance`` lies within the radius (one to one again), and ``fake`` where none is left. Some
        are faint by chance, for such sources are many; and some fakes are brighter sources that were placed a little
        beyond the radius.

    Raises
    ------
    ValueError
        If a table has no positions, the truth no ``class``, or ``radius`` is not positive.
    `~astropy.units.UnitConversionError`
        If ``radius`` or ``extension`` is not an angle.
    """
    if "class" not in sources.colnames:
        raise ValueError(f"the true sources have no column class; they have {', '.join(sources.colnames)}")
    if "significance" in sources.colnames:
        significance = np.asarray(sources["significance"])
        faint = source_coords(sources[(significance >= faintest) & (significance < min_significance)])
        sources = sources[significance >= min_significance]
    else:
        faint = source_coords(sources[:0])
    detected, true = source_coords(catalogue), source_coords(sources)
    names = clean_labels(sources["class"])
    classes = np.full(len(detected), FAKE, dtype=np.result_type(np.array(FAKE), np.array(FAINT), names))
    pairs = match(detected, true, radius, n_shifts=2)
    classes[pairs.catalogue_index] = names[pairs.reference_index]
    extension = _extensions(sources)
    extended, left = np.flatnonzero(extension > 0), np.flatnonzero(~pairs.matched)
    if len(extended) and len(left):
        separation = detected[left][:, None].separation(true[extended])
        separation = np.where(separation <= extension[extended], separation, np.inf * u.deg)
        nearest = separation.argmin(axis=1)
        inside = np.isfinite(separation.min(axis=1))
        classes[left[inside]] = names[extended[nearest[inside]]]
    left = np.flatnonzero(classes == FAKE)
    pairs = match(detected[left], faint, radius, n_shifts=2)
    classes[left[pairs.catalogue_index]] = FAINT
    return classes


def _extensions(sources):
    """68 % radii of all sources, 0 for points."""
    if "extension" not in sources.colnames:
        return np.zeros(len(sources)) * u.deg
    column = sources["extension"]
    unit = getattr(column, "unit", None) or u.deg
    return as_quantity(np.asarray(getattr(column, "value", column), dtype=float) * unit, u.deg, "extension")
