"""The sum over time of maps of the same sky: ten yearly maps become one of ten years."""

import copy

from .skymap import SkyMap

__all__ = ["stack_maps"]


def stack_maps(maps):
    """
    Sum maps of the same sky that were taken at different times.

    Parameters
    ----------
    maps : list of SkyMap, or of `~astropy.nddata.NDData`
        All of one geometry, with the same energy bins.

    Returns
    -------
    SkyMap or `~astropy.nddata.NDData`
        Counts, exposure and background are summed.

    Raises
    ------
    ValueError
        If a map differs from the first one in shape.
    """
    first = maps[0]
    for number, one in enumerate(maps[1:], 2):
        if one.data.shape != first.data.shape:
            raise ValueError(f"map {number} has the shape {one.data.shape}, the first one {first.data.shape}")
    data = sum(one.data for one in maps)
    if isinstance(first, SkyMap):
        exposures = [one.exposure for one in maps]
        known = all(exposure is not None for exposure in exposures)
        return first._with(data, exposure=sum(exposures[1:], exposures[0]) if known else None)
    total = copy.copy(first)
    total.data, total.meta = data, dict(first.meta)
    if all("exposure" in one.meta for one in maps):
        total.meta["exposure"] = sum((one.meta["exposure"] for one in maps[1:]), first.meta["exposure"])
    return total
