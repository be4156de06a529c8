"""The sum over time of maps of the same sky: ten yearly maps become one of ten years.

Counts, exposure and background simply add up, but only where every map looked: where one is blank, the sum would have
the counts of fewer years than its exposure says, so such pixels are masked. Of the PSFs, which may differ if the choice
of photons did, a source sees the mean, weighted by exposure.
"""

import copy
from dataclasses import dataclass
from functools import reduce

import astropy.units as u
import numpy as np
from astropy.nddata import NDData, StdDevUncertainty
from astropy.wcs.utils import proj_plane_pixel_scales

from .energy import parse_edges, same_edges
from .nddata import fits_wcs, standard_deviations
from .psf import RadialPSF
from .skymap import SkyMap

__all__ = ["stack_maps"]

_SAME_PLACE = 0.01  # pixels by which the positions of two WCS may differ: far below any PSF


def stack_maps(maps):
    """
    Sum maps of the same sky that were taken at different times.

    Parameters
    ----------
    maps : list of SkyMap, or of `~astropy.nddata.NDData`
        HEALPix maps, or images and cubes (energy first) whose ``meta`` may carry ``energy_edges``, ``exposure``,
        ``background`` and ``psf``. All of one geometry, with the same energy bins and the same unit; only the pixel
        order of HEALPix maps may differ. A map alone, in a list or not, is copied.

    Returns
    -------
    SkyMap or `~astropy.nddata.NDData`
        Of the type of the first map, in its pixel order. Counts, exposure and background are summed. What is beyond the
        counts (exposure, background, psf, and the uncertainty of images) is only there if all maps have it.

        A pixel is masked unless it was seen in every map, so that counts and exposure belong together.

        The PSF is that of all maps if it is the same; otherwise, in each energy bin, the mean of theirs, weighted by
        the exposure of the pixels that all have seen.

        ``meta`` is that of the first map; but ``years`` is the sum, if all maps have it, and ``year``, the number of
        one of them, is left out. The true ``sources`` are kept if all maps share one table: those of yearly maps have
        the fluxes of a year.

    Raises
    ------
    TypeError
        If one of the maps is of another kind.
    ValueError
        If there are none; if one differs from the first one in kind, pixels, frame, WCS, shape, energy edges (by more
        than 0.1 %) or unit; or if the PSFs differ and there is no exposure to weigh them with.
    `~astropy.units.UnitConversionError`
        If an exposure, background or energy in ``meta`` has a wrong unit.

    Examples
    --------
    >>> import numpy as np
    >>> from astrolearn.sky import SkyMap, stack_maps
    >>> years = [SkyMap(np.ones(768), exposure=[1e11], meta={"years": 1.0}) for year in range(10)]
    >>> total = stack_maps(years)
    >>> total.exposure[0, :1], total.meta["years"]
    (<Quantity [1.e+12] cm2 s>, 10.0)
    """
    maps = [maps] if isinstance(maps, NDData) else list(maps)
    if not maps:
        raise ValueError("there are no maps to sum: give at least one")
    for number, one in enumerate(maps, 1):
        if not isinstance(one, NDData):
            raise TypeError(f"map {number} is a {type(one).__name__}: give a SkyMap, or an NDData or CCDData image")
    first = maps[0]
    if len(maps) == 1:
        return copy.deepcopy(first)
    on_sphere = isinstance(first, SkyMap)
    for number, one in enumerate(maps[1:], 2):
        if isinstance(one, SkyMap) != on_sphere:
            _refuse(number, f"is a {type(one).__name__}", f"a {type(first).__name__}", "give maps of one kind")
        (_check_sphere if on_sphere else _check_image)(number, one, first)
    if on_sphere:
        layers = [_sphere_layers(one.to_order(first.nest)) for one in maps]
    else:
        layers = [_image_layers(one, number) for number, one in enumerate(maps, 1)]
    for number, one in enumerate(layers[1:], 2):
        _check_bins(number, one, layers[0])
    return (_stacked_sphere if on_sphere else _stacked_image)(maps, layers)


@dataclass
class _Layers:
    """What adds up, as plain arrays that broadcast to (n_energy, ...); None where a map has no such thing."""

    data: np.ndarray
    mask: np.ndarray | None
    exposure: np.ndarray | None  # in cm2 s
    background: np.ndarray | None
    psf: RadialPSF | None
    energy_edges: u.Quantity | None
    unit: u.UnitBase


def _sphere_layers(skymap):
    return _Layers(skymap.data, skymap.mask, skymap._exposure, skymap._background, skymap.psf, skymap.energy_edges,
                   skymap.unit)


def _image_layers(image, number):
    data = np.asarray(image.data)
    data = data[None] if data.ndim == 2 else data
    unit = u.Unit(image.unit or u.ct)
    mask = ~np.isfinite(data)
    if image.mask is not None:
        mask |= np.broadcast_to(np.asarray(image.mask, bool), data.shape)

    def plane(name, unit):
        value = image.meta.get(name)
        if value is None:
            return None
        value = u.Quantity(value)
        if value.unit != u.dimensionless_unscaled:
            try:
                value = value.to(unit)
            except u.UnitConversionError as error:
                raise u.UnitConversionError(f"meta['{name}'] of map {number}: {error}") from None
        value = value.value.reshape(-1, 1, 1) if value.ndim == 1 else value.value
        try:
            return np.broadcast_to(value, data.shape)
        except ValueError:
            raise ValueError(f"meta['{name}'] of map {number} has the shape {value.shape}, the map "
                             f"{image.data.shape}") from None

    psf = image.meta.get("psf")
    if psf is not None and not isinstance(psf, RadialPSF):
        psf = RadialPSF.gaussian(psf)
    if psf is not None and psf.n_energy == 1:
        psf = psf.combine([[0]] * len(data), [1.0])
    if psf is not None and psf.n_energy != len(data):
        raise ValueError(f"meta['psf'] of map {number} has {psf.n_energy} energy bins, the map {len(data)}")
    edges = image.meta.get("energy_edges")
    edges = None if edges is None else parse_edges(edges, f"meta['energy_edges'] of map {number}")
    return _Layers(data, mask if mask.any() else None, plane("exposure", u.cm**2 * u.s), plane("background", unit), psf,
                   edges, unit)


def _refuse(number, found, expected, remedy):
    raise ValueError(f"map {number} {found}, the first one {expected}: {remedy}")


def _check_sphere(number, skymap, first):
    if skymap.nside != first.nside:
        _refuse(number, f"has nside {skymap.nside}", first.nside, "bin the photons of both in the same pixels")
    if skymap.frame != first.frame:
        _refuse(number, f"is in the {skymap.frame} frame", f"in the {first.frame} one",
                "bin the photons of both in the same frame")
    if skymap.n_energy != first.n_energy:
        _refuse(number, f"has {skymap.n_energy} energy bins", first.n_energy, "merge bins with EnergyRebinner")


def _check_image(number, image, first):
    if np.shape(image.data) != np.shape(first.data):
        _refuse(number, f"has the shape {np.shape(image.data)}", np.shape(first.data), "cut both to the same pixels")
    wcs, expected = fits_wcs(image, f"map {number}"), fits_wcs(first, "the first map")
    if (wcs is None) != (expected is None):
        _refuse(number, f"has {'no' if wcs is None else 'a'} WCS", "none" if expected is None else "has one",
                "give both the same")
    if wcs is not None:
        if not (wcs.has_celestial and expected.has_celestial):
            raise ValueError(f"map {number} or the first one has a WCS without celestial axes, so that its pixels have "
                             "no place on the sky: give it another")
        apart = _pixels_apart(wcs, expected, np.shape(image.data)[-2:])
        if not apart < _SAME_PLACE:
            raise ValueError(f"map {number} has another WCS than the first one: positions differ by up to {apart:.3g} "
                             "pixels; bring both to the same pixels")


def _pixels_apart(wcs, expected, shape):
    """Largest difference of the positions that two WCS give to pixels, in pixels of the second."""
    x, y = np.meshgrid(*(np.linspace(0, n - 1, 9) for n in shape[::-1]))
    separation = wcs.celestial.pixel_to_world(x, y).separation(expected.celestial.pixel_to_world(x, y)).deg
    # the corners of all-sky projections are nowhere
    return np.nanmax(separation, initial=0) / proj_plane_pixel_scales(expected.celestial).min()


def _check_bins(number, layers, first):
    if layers.unit != first.unit:
        _refuse(number, f"is in '{layers.unit}'", f"in '{first.unit}'", "bring both to the same unit")
    edges, expected = layers.energy_edges, first.energy_edges
    if (edges is None) != (expected is None):
        _refuse(number, f"has {'no' if edges is None else 'its'} energy edges",
                "has none" if expected is None else f"has {expected}", "set energy_edges of both")
    if edges is not None and not same_edges(edges, expected):
        _refuse(number, f"has the energy edges {edges}", expected, "merge bins with EnergyRebinner")


# -- sums -------------------------------------------------------------------------------------------------------------
def _total(layers, name):
    """Sum of one layer over maps, in the precision of the maps; None if one lacks it."""
    arrays = [getattr(one, name) for one in layers]
    if any(array is None for array in arrays):
        return None
    dtype = np.result_type(*arrays)
    return reduce(np.add, arrays, np.float64(0)).astype(dtype if dtype.kind == "f" else np.float64)


def _blank(layers):
    """True where not seen in every map; None if there is no such pixel."""
    masks = [one.mask for one in layers if one.mask is not None]
    return reduce(np.logical_or, masks, np.False_) if masks else None


def _mean_psf(layers, blank):
    psfs = [one.psf for one in layers]
    if any(psf is None for psf in psfs):
        return None
    other = next((number for number, psf in enumerate(psfs, 1) if psf != psfs[0]), None)
    if other is None:
        return psfs[0]
    if any(one.exposure is None for one in layers):
        raise ValueError(f"map {other} has another PSF than the first one, and without the exposure of all maps they "
                         "cannot be averaged: set the exposure of all, or the same PSF")
    shape = layers[0].data.shape
    seen = np.array(True) if blank is None else ~blank
    totals = [np.where(seen, np.broadcast_to(one.exposure, shape), 0).sum(axis=tuple(range(1, len(shape))), dtype=float)
              for one in layers]
    # never nothing, so that a bin without exposure still has a PSF
    weights = np.add(totals, 1e-9)
    theta = np.unique(np.concatenate([psf.theta.to_value(u.rad) for psf in psfs]))
    profile = [np.average([psf.evaluate(theta, i) for psf in psfs], axis=0, weights=weights[:, i])
               for i in range(psfs[0].n_energy)]
    return RadialPSF(theta * u.rad, np.array(profile))


def _meta(maps):
    meta = copy.copy(maps[0].meta)
    years = [one.meta.get("years") for one in maps]
    for name in ("year", "years"):
        if name in meta:
            del meta[name]
    if None not in years:
        meta["years"] = sum(years)
    return meta


def _stacked_sphere(maps, layers):
    first, blank = maps[0], _blank(layers)
    stacked = first._with(_total(layers, "data"), mask=blank, exposure=_total(layers, "exposure"),
                          background=_total(layers, "background"), psf=_mean_psf(layers, blank), meta=_meta(maps))
    if any(one.sources is not first.sources for one in maps):
        stacked.sources = None
    return stacked


def _stacked_image(maps, layers):
    first, blank = maps[0], _blank(layers)
    shape, meta = np.shape(first.data), _meta(maps)
    sums = {"exposure": _total(layers, "exposure"), "background": _total(layers, "background")}
    kept = {name: values.reshape(shape) for name, values in sums.items() if values is not None}
    if "exposure" in kept:
        kept["exposure"] = kept["exposure"] << u.cm**2 * u.s
    psf = _mean_psf(layers, blank)
    if psf is not None:
        kept["psf"] = psf
    sources = first.meta.get("sources")
    if sources is not None and all(one.meta.get("sources") is sources for one in maps):
        kept["sources"] = sources
    for name in ("exposure", "background", "psf", "sources"):
        if name in meta:
            del meta[name]
    if kept:
        meta.update(kept)
    sigmas = [standard_deviations(one, f"map {number}") for number, one in enumerate(maps, 1)]
    uncertainty = None
    if all(sigma is not None for sigma in sigmas):
        uncertainty = StdDevUncertainty(np.sqrt(np.sum(np.square(sigmas), axis=0)))
    return type(first)(_total(layers, "data").reshape(shape), unit=first.unit, wcs=copy.deepcopy(first.wcs),
                       mask=None if blank is None else blank.reshape(shape), meta=meta, uncertainty=uncertainty)
