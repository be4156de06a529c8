"""Steps for scikit-learn pipelines over maps: `SkyMap`, WCS images and cubes, one of them or a list.

They need no fitting and leave what they are given unchanged.
"""

import copy

import numpy as np
from astropy.nddata import CCDData, NDData, VarianceUncertainty

from astrolearn.core.transformers import StatelessTransformer

from .energy import edge_groups, merge, merge_psf, parse_edges, power_law_weights
from .io import as_map
from .psf import RadialPSF
from .regions_io import image_inside, load_regions, sky_inside
from .skymap import SkyMap

__all__ = ["EnergyRebinner", "RegionMask"]


class _MapTransformer(StatelessTransformer):
    """Apply ``_transform_one`` to one map or to each of a list."""

    def transform(self, X):
        """
        Transform one map or each map of a list.

        Parameters
        ----------
        X : SkyMap, `~astropy.nddata.NDData`, anything else that `as_map` knows, or a list or tuple of them
            The maps; they are not changed.

        Returns
        -------
        SkyMap, `~astropy.nddata.NDData`, or a list of them
        """
        prepared = self._prepare()
        if isinstance(X, (list, tuple)):
            return [self._transform_one(as_map(skymap), prepared) for skymap in X]
        return self._transform_one(as_map(X), prepared)


class RegionMask(_MapTransformer):
    """
    Mask the pixels inside regions.

    Parameters
    ----------
    regions : path-like, str, region, `~regions.Regions` or list of regions
        A ds9 or CRTF file, its text, or regions. On a HEALPix map they must be on the sky. Regions that the file
        excludes ("-circle(...)" in ds9) are cut out of the others.
    invert : bool
        Mask the pixels outside instead.

    Raises
    ------
    FileNotFoundError
        By ``fit`` and ``transform``, if there is no such file.
    ValueError
        By ``fit`` and ``transform``, if regions cannot be read or do not suit the map.

    Examples
    --------
    >>> import numpy as np
    >>> from astrolearn.sky import RegionMask, SkyMap
    >>> RegionMask("galactic; box(0, 0, 360, 20)").fit_transform(SkyMap(np.zeros(12 * 64**2)))
    <SkyMap nside=64 RING galactic, 1 bin, ct; 0.172 of the pixels masked>
    """

    def __init__(self, regions, *, invert=False):
        self.regions = regions
        self.invert = invert

    def _prepare(self):
        return load_regions(self.regions)

    def _transform_one(self, skymap, regions):
        new = copy.copy(skymap)  # shares the data
        if isinstance(skymap, SkyMap):
            inside = sky_inside(regions, skymap)
        else:
            wcs = getattr(skymap.wcs, "celestial", skymap.wcs)  # a cube may have an energy axis in its WCS
            inside = image_inside(regions, skymap.data.shape[-2:], wcs)
        masked = ~inside if self.invert else inside
        if skymap.mask is not None:
            masked = masked | np.asarray(skymap.mask, dtype=bool)
        elif not isinstance(skymap, SkyMap):
            masked = np.array(np.broadcast_to(masked, skymap.data.shape))
        new.mask = masked
        return new


class EnergyRebinner(_MapTransformer):
    """
    Merge energy bins.

    Counts and background are summed; exposure is averaged with the photons that a source with dN/dE ~ E**-2.2 sends
    into each bin as weights, the PSF with these times the mean exposure. A pixel is masked where it is in any of the
    merged bins.

    Parameters
    ----------
    edges : `~astropy.units.Quantity` or str
        New bin edges, such as ``"1, 10, 100 GeV"``; each one must be an edge of the maps (to 0.1 %), and the new range
        may be smaller. A bare sequence is taken in GeV.

    Raises
    ------
    ValueError
        By ``transform``, if an edge is none of the map's, or the map has no energy edges.
    """

    def __init__(self, edges):
        self.edges = edges

    def _prepare(self):
        return parse_edges(self.edges, "edges")

    def _transform_one(self, skymap, edges):
        return skymap.rebin(edges) if isinstance(skymap, SkyMap) else _rebin_image(skymap, edges)


def _rebin_image(image, edges):
    """Do as `SkyMap.rebin` for a cube whose energy edges, background, exposure and PSF are in ``meta``."""
    old_edges = image.meta.get("energy_edges")
    if old_edges is None:
        raise ValueError("the image has no meta['energy_edges'], without which its bins cannot be merged")
    old_edges = parse_edges(old_edges)
    shape = image.data.shape if image.data.ndim == 3 else (1, *image.data.shape)
    if len(old_edges) != shape[0] + 1:
        raise ValueError(f"the image has {shape[0]} energy planes, but meta['energy_edges'] {len(old_edges)} values")
    groups = edge_groups(old_edges, edges)
    weights = power_law_weights(old_edges)

    def full(array):
        """Plane by plane, whether given so, as one value per bin, or as one value."""
        array = np.asanyarray(array)
        if array.ndim == 1:
            array = array[:, None, None]
        return np.broadcast_to(array, shape, subok=True)

    meta = dict(image.meta)
    meta["energy_edges"] = old_edges[[group[0] for group in groups] + [groups[-1][-1] + 1]]
    exposure = meta.get("exposure")
    if meta.get("background") is not None:
        meta["background"] = merge(full(meta["background"]), groups)
    if exposure is not None:
        meta["exposure"] = merge(full(exposure), groups, weights)
    if meta.get("psf") is not None:
        psf = meta["psf"] if isinstance(meta["psf"], RadialPSF) else RadialPSF.gaussian(meta["psf"])
        meta["psf"] = merge_psf(psf, groups, weights, None if exposure is None else full(exposure))
    mask = None if image.mask is None else merge(full(np.asarray(image.mask, dtype=bool)), groups)
    uncertainty = image.uncertainty
    if uncertainty is not None:
        variance = uncertainty.represent_as(VarianceUncertainty).array
        uncertainty = VarianceUncertainty(merge(full(variance), groups))
    kind = CCDData if isinstance(image, CCDData) else NDData
    return kind(merge(image.data.reshape(shape), groups), unit=image.unit, mask=mask, wcs=image.wcs,
                uncertainty=uncertainty, meta=meta)
