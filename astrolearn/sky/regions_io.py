"""Regions of the sky: catalogues as regions that every viewer can draw, and regions as pixel masks.

The `regions` package knows shapes on flat images. A HEALPix map has no flat image, so each shape is laid onto a small
projection of its own, in which it has its true size at its centre.
"""

import os

import astropy.units as u
import healpy as hp
import numpy as np
import regions as regions_package
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.wcs.utils import celestial_frame_to_wcs
from regions import CirclePixelRegion, CircleSkyRegion, PixCoord, Regions

from astrolearn.core.inputs import as_quantity

__all__ = ["image_inside", "load_regions", "sky_inside", "to_regions"]

# Shapes that reach farther from their centre than this are taken in longitude and latitude: see `sky_inside`
_LARGE = 45 * u.deg

_SPHERICAL = getattr(regions_package, "SphericalSkyRegion", ())  # regions >= 0.11 has them


def to_regions(catalogue, radius=None):
    """
    Turn a catalogue into circular regions.

    ``to_regions(catalogue).write("sources.reg", format="ds9")`` writes a file that ds9, CARTA, CASA (``format="crtf"``)
    and others draw.

    Parameters
    ----------
    catalogue : `~astropy.table.Table` or `~astropy.coordinates.SkyCoord`
        Sources, with a SkyCoord column ``coord``; or without, for images that have no WCS, ``x_centroid`` and
        ``y_centroid`` (pixels). Where there is a column ``name``, it labels the regions.
    radius : `~astropy.units.Quantity`, str or float, optional
        Radius of the circles, one or one per source; a bare number is taken in degrees (pixels without ``coord``).
        Default: three times the column ``coord_error`` (degrees where it has no unit).

    Returns
    -------
    `~regions.Regions`
        In the order of the catalogue, with the label as ``meta["text"]`` (ds9) and ``meta["label"]`` (CRTF).

    Raises
    ------
    ValueError
        If there are no positions, or no radius and no ``coord_error``, or a radius is not positive.
    """
    if isinstance(catalogue, SkyCoord):
        catalogue = Table({"coord": catalogue.reshape(-1)})
    names = catalogue.colnames
    on_sky = "coord" in names
    if not on_sky and not {"x_centroid", "y_centroid"} <= set(names):
        raise ValueError(f"the catalogue has neither coord nor x_centroid and y_centroid; it has {', '.join(names)}")
    if radius is None:
        if not on_sky or "coord_error" not in names:
            raise ValueError("the catalogue has no coord_error; give a radius")
        error = catalogue["coord_error"]
        radius = 3 * u.Quantity(error, getattr(error, "unit", None) or u.deg)
    unit = u.deg if on_sky else u.pix
    radii = as_quantity(radius, unit, "radius") if len(catalogue) else [] * unit
    radii = np.broadcast_to(radii, len(catalogue), subok=True)
    if not np.all(radii.value > 0):
        raise ValueError(f"{np.sum(~(radii.value > 0))} of {len(radii)} radii are not positive")
    labels = [str(name) for name in catalogue["name"]] if "name" in names else [None] * len(catalogue)
    if on_sky:
        circles = [CircleSkyRegion(coord, r) for coord, r in zip(catalogue["coord"], radii, strict=True)]
    else:
        circles = [CirclePixelRegion(PixCoord(float(x), float(y)), r.value) for x, y, r in
                   zip(catalogue["x_centroid"], catalogue["y_centroid"], radii, strict=True)]
    for circle, label in zip(circles, labels, strict=True):
        if label is not None:
            circle.meta["text"] = circle.meta["label"] = label
    return Regions(circles)


def load_regions(regions):
    """
    Give a list of regions, wherever they come from.

    Parameters
    ----------
    regions : path-like, str, region, `~regions.Regions` or list of regions
        A ds9, CRTF or FITS region file, the text of a ds9 or CRTF file, or regions.

    Returns
    -------
    list of regions

    Raises
    ------
    FileNotFoundError
        If it is neither a file nor the text of one.
    ValueError
        If a file or text has no regions that can be read.
    TypeError
        If it is something else.
    """
    if isinstance(regions, (str, os.PathLike)):
        return _parse(regions)
    if isinstance(regions, (Regions, list, tuple)):
        regions = list(regions)
    else:
        regions = [regions]
    wrong = [region for region in regions if not isinstance(region, regions_package.Region)]
    if wrong:
        raise TypeError(f"regions, or a file or text with regions, are needed, not {type(wrong[0]).__name__}")
    return regions


def _parse(source):
    is_file = os.path.isfile(source)
    text = str(source)
    if not is_file and "(" not in text and "[[" not in text:
        raise FileNotFoundError(f"{text}: no such file (and no text in ds9 or CRTF format)")
    name = text if is_file else "the text of the regions"
    try:
        if is_file:
            with open(source, "rb") as file:
                start = file.read(200)
            form = "crtf" if b"#CRTF" in start else "fits" if start.startswith(b"SIMPLE") else "ds9"
            parsed = Regions.read(source, format=form)
        else:
            parsed = Regions.parse(text, format="crtf" if "[[" in text else "ds9")
    except Exception as error:  # the parsers raise exceptions of many kinds, among them their own
        raise ValueError(f"{name}: cannot read regions ({' '.join(str(error).split())})") from error
    if len(parsed) == 0:
        raise ValueError(f"{name}: there are no regions in it")
    return list(parsed)


def _union(regions, inside, shape):
    """Union of the regions, less those that are marked as excluded ("-circle(...)" in ds9)."""
    excluded = [str(region.meta.get("include", 1)) in {"0", "False", "-"} for region in regions]
    result = np.full(shape, all(excluded))
    for region in (r for r, out in zip(regions, excluded, strict=True) if not out):
        result |= inside(region)
    for region in (r for r, out in zip(regions, excluded, strict=True) if out):
        result &= ~inside(region)
    return result


def sky_inside(regions, skymap):
    """
    Which pixels of a HEALPix map have their centres inside regions.

    Circles and annuli are exact. Ellipses, boxes and polygons are as drawn on an image centred on them (zenithal
    equidistant, for polygons gnomonic, where edges are great circles); shapes that reach farther than 45 deg, such as
    a band along the Galactic plane, are in longitude and latitude of their frame (plate carree).

    Parameters
    ----------
    regions : list of sky regions
        From `load_regions`.
    skymap : SkyMap
        The map.

    Returns
    -------
    bool array, shape (n_pix,)

    Raises
    ------
    ValueError
        If a region is in pixel coordinates.
    """
    coords = []  # all pixel centres, only made for the regions that need them

    def inside(region):
        if isinstance(region, regions_package.PixelRegion):
            raise ValueError(f"{type(region).__name__} is in pixel coordinates, which a HEALPix map has not")
        if isinstance(region, _SPHERICAL):
            if not coords:
                coords.append(skymap.pixel_coords())
            return region.contains(coords[0])
        if isinstance(region, regions_package.CompoundSkyRegion):
            return region.operator(inside(region.region1), inside(region.region2))
        result = np.zeros(skymap.n_pix, dtype=bool)
        centre, reach = _extent(region)
        if reach is None:  # a point or line has no inside
            return result
        pixels = _pixels_near(skymap, centre, reach)
        near = skymap.pixel_coords(pixels)
        distance = near.separation(centre)
        if hasattr(region, "inner_radius"):
            result[pixels] = (distance < region.outer_radius) & (distance > region.inner_radius)
        elif hasattr(region, "radius"):
            result[pixels] = distance < region.radius
        else:
            wcs = _projection(region, centre, reach)
            flat = region.to_pixel(wcs)
            flat.meta.pop("include", None)  # _union sees to it
            result[pixels] = flat.contains(PixCoord.from_sky(near, wcs))
        return result

    return _union(regions, inside, skymap.n_pix)


def _extent(region):
    """Centre of a sky region and how far it reaches from there (None if it has no area)."""
    if hasattr(region, "vertices"):
        vertices = region.vertices
        mean = vertices.cartesian.mean()
        centre = SkyCoord(mean, frame=vertices.frame.replicate_without_data(), representation_type="cartesian")
        centre.representation_type = "unitspherical"
        return centre, vertices.separation(centre).max()
    for name in ("radius", "outer_radius"):
        if hasattr(region, name):
            return region.center, getattr(region, name)
    for prefix in ("outer_", ""):
        if hasattr(region, prefix + "width"):
            return region.center, np.hypot(getattr(region, prefix + "width"), getattr(region, prefix + "height")) / 2
    return None, None


def _pixels_near(skymap, centre, reach):
    if reach > _LARGE:
        return np.arange(skymap.n_pix)
    sphere = centre.transform_to(skymap.frame).spherical
    vector = hp.ang2vec(sphere.lon.deg, sphere.lat.deg, lonlat=True)
    # a twentieth more: projections stretch a little towards their rim
    return hp.query_disc(skymap.nside, vector, 1.05 * reach.to_value(u.rad), nest=skymap.nest)


def _projection(region, centre, reach):
    """Build the WCS in which a shape is taken to be flat."""
    if reach > _LARGE:
        kind, latitude = "CAR", 0
    else:
        kind, latitude = "TAN" if hasattr(region, "vertices") else "ARC", centre.spherical.lat.deg
    wcs = celestial_frame_to_wcs(centre.frame, projection=kind)
    wcs.wcs.crval = [centre.spherical.lon.deg, latitude]
    wcs.wcs.cdelt = [-0.01, 0.01]
    wcs.wcs.set()
    return wcs


def image_inside(regions, shape, wcs):
    """
    Which pixels of an image have their centres inside regions.

    Parameters
    ----------
    regions : list of regions
        From `load_regions`; on the sky or in pixels.
    shape : tuple
        Shape (ny, nx) of the image.
    wcs : `~astropy.wcs.WCS` or None
        Its celestial WCS.

    Returns
    -------
    bool array, shape (ny, nx)

    Raises
    ------
    ValueError
        If a region is on the sky and the image has no WCS.
    """
    def inside(region):
        if not isinstance(region, regions_package.PixelRegion):
            if wcs is None:
                raise ValueError(f"{type(region).__name__} is on the sky, but the image has no WCS")
            if isinstance(region, _SPHERICAL):
                return region.contains(wcs.pixel_to_world(*np.indices(shape)[::-1]))
            region = region.to_pixel(wcs)
        region = region.copy()
        region.meta.pop("include", None)  # _union sees to it
        if isinstance(region, (regions_package.PointPixelRegion, regions_package.LinePixelRegion)):
            return np.zeros(shape, dtype=bool)  # these have no inside
        # only the part of the image around the region: there may be thousands of small ones
        box = region.bounding_box
        x0, x1 = (int(np.clip(x, 0, shape[1])) for x in (box.ixmin, box.ixmax))
        y0, y1 = (int(np.clip(y, 0, shape[0])) for y in (box.iymin, box.iymax))
        result = np.zeros(shape, dtype=bool)
        y, x = np.mgrid[y0:y1, x0:x1]
        result[y0:y1, x0:x1] = region.contains(PixCoord(x, y))
        return result

    return _union(regions, inside, shape)
