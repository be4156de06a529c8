"""Images of one field in several bands: by name, on one pixel grid, in one unit.

Which image is which band decides every answer and shows in none, so that bands go by name, and what headers say of the
filter is compared. Their pixels must be the same pieces of sky. Everything that images may come as ends here in one
form, `BandImages`.
"""

import os
import re
from collections.abc import Mapping

import astropy.units as u
import numpy as np
from astropy.nddata import NDData, StdDevUncertainty
from astropy.utils.masked import Masked

from astrolearn.morphology.field import BandImages
from astrolearn.sky.fits_tools import open_fits
from astrolearn.sky.image_io import image_from_hdus, without_stray_sip
from astrolearn.sky.nddata import fits_wcs, standard_deviations

__all__ = ["BandImages", "read_bands", "read_image", "read_many"]

_KEYWORDS = ("FILTER", "FILTER1", "FILTER2", "FILTNAM1", "BAND", "FILTNAM")  # of headers that name a band
_HST = re.compile(r"f\d{3,4}(w|m|n|lp|x)$")  # names of filters, of which two are never the same
_SHIFT = 0.1  # pixels by which bands may differ in what part of the sky they show


def read_many(images, bands):
    """
    Read one field or several.

    Parameters
    ----------
    images : BandImages, as for `read_bands`, or a list or array (n, n_bands, h, w) of these
        Of a single band, a list is one of fields.
    bands : sequence of str
        Names of the bands.

    Returns
    -------
    fields : list of BandImages
        One for each field.
    single : bool
        Whether it was one field, and no list.
    """
    if isinstance(images, BandImages):
        return [images], True
    if len(bands) > 1 and isinstance(images, list | tuple) and images and _is_field(images[0]):
        return [read_bands(field, bands, f"images[{i}]") for i, field in enumerate(images)], False
    if len(bands) == 1 and isinstance(images, list | tuple):
        fields = [field if _is_field(field) else [field] for field in images]
        return [read_bands(field, bands, f"images[{i}]") for i, field in enumerate(fields)], False
    if not isinstance(images, Mapping | list | tuple | NDData) and np.ndim(images) == 4:
        if len(images) == 0:
            raise ValueError(f"images is empty (shape {np.shape(images)})")
        return [read_bands(images[i], bands, f"images[{i}]") for i in range(len(images))], False
    return [read_bands(images, bands)], True


def read_bands(images, bands, name="images"):
    """
    Read the images of one field.

    Parameters
    ----------
    images : dict, list, `~astropy.nddata.NDData`, `~astropy.units.Quantity` or array-like
        A dict of images by the names of the bands, in any order; a list of images in the order of ``bands``; an array
        or NDData (n_bands, h, w); or, of a single band, one image. Images are arrays, `~astropy.units.Quantity`, masked
        arrays, `~astropy.nddata.NDData` or paths of FITS files, see `read_image`; those without a unit are taken to be
        in that of the others. What a header says of the filter (``FILTER`` and the like) is compared: in a list it must
        be the band's name; in a dict it must not be that of another band, nor another name of a filter of HST.
    bands : sequence of str
        Names of the bands.
    name : str, optional
        What the images are called in error messages.

    Returns
    -------
    field : BandImages

    Raises
    ------
    astropy.units.UnitConversionError
        If the units of two bands do not convert to each other.
    ValueError
        If bands are missing, unknown or in another order, or if they differ in shape or in their WCS.

    Warns
    -----
    `~astropy.utils.exceptions.AstropyUserWarning`
        If a WCS has distortion terms that its projection does not announce; they are ignored.
    """
    parts = [_Part(image, band, f"{name}[{band!r}]") for band, image in _by_band(images, bands, name)]
    shapes = {part.data.shape for part in parts}
    for part in parts:
        if part.data.ndim != 2 or 0 in part.data.shape:
            what = "is empty" if 0 in part.data.shape else "is not an image (h, w)"
            raise ValueError(f"{part.name} {what}: it has the shape {part.data.shape}")
    if len(shapes) > 1:
        listed = ", ".join(f"{part.band} {part.data.shape}" for part in parts)
        raise ValueError(f"the bands of {name} differ in shape: {listed}")
    unit = next((part.unit for part in parts if part.unit is not None), None)
    factors = [part.factor(unit) for part in parts]
    return BandImages(
        tuple(bands), unit, _common_wcs(parts, name), parts[0].data.shape, [part.data for part in parts], factors,
        [part.mask for part in parts], [part.sigma for part in parts],
    )  # fmt: skip


def read_image(path, name="the image"):
    """
    Read the image of a FITS file.

    Parameters
    ----------
    path : path-like
        The first image in the file is taken; extensions ``MASK`` (not 0 where a pixel is not to be used) and ``UNCERT``
        (with the kind in ``UTYPE``), as `~astropy.nddata.CCDData` writes them, go with it. The file is read whole.
    name : str, optional
        What the image is called in warnings.

    Returns
    -------
    image : `~astropy.nddata.CCDData`
        Without a unit in the file it is dimensionless.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If there is no image in it.
    """
    with open_fits(path) as hdus:
        return image_from_hdus(hdus, default_unit=u.dimensionless_unscaled, name=name)


class _Part:
    """One image: data and mask as they are, not copied."""

    def __init__(self, image, band, name):
        self.band, self.name = band, name
        self.mask = self.sigma = self.wcs = None
        self.unit = getattr(image, "unit", None)
        if isinstance(image, NDData):
            self.mask, self.unit = image.mask, image.unit
            self.wcs, self.sigma = fits_wcs(image, name), standard_deviations(image, name)
            image = image.data
        elif isinstance(image, Masked):
            self.mask, image = image.mask, image.unmasked
        elif isinstance(image, np.ma.MaskedArray):
            self.mask, image = np.ma.getmaskarray(image), np.ma.getdata(image)
        if isinstance(image, u.Quantity):
            image = image.value
        self.data = np.asarray(image)
        if self.data.dtype.kind not in "biuf":
            raise ValueError(f"{name} must be an image of real numbers, not of type {self.data.dtype}")
        if self.mask is not None:
            self.mask = np.broadcast_to(np.asarray(self.mask, bool), self.data.shape)
        if self.unit == u.dimensionless_unscaled:
            self.unit = None

    def factor(self, unit):
        if self.unit is None or unit is None:
            return 1.0
        try:
            return self.unit.to(unit)
        except u.UnitConversionError as error:
            raise u.UnitConversionError(
                f"{self.name} has the unit '{self.unit}', which does not convert to '{unit}' of the other bands"
            ) from error


def _is_field(images):
    """Whether something is the images of all bands, and not one image."""
    if isinstance(images, Mapping | list | tuple):
        return True
    if isinstance(images, NDData):
        return images.data.ndim == 3
    return not isinstance(images, str | os.PathLike) and np.ndim(images) == 3


def _opened(image, name):
    """The image of a file; anything else as it is."""
    return read_image(image, name) if isinstance(image, str | os.PathLike) else image


def _by_band(images, bands, name):
    """Pairs of band and image, in the order of ``bands``."""
    if isinstance(images, Mapping):
        missing, unknown = [band for band in bands if band not in images], [key for key in images if key not in bands]
        if missing or unknown:
            what = f"lacks the band(s) {', '.join(missing)}" if missing else f"has the unknown band(s) {unknown}"
            raise ValueError(f"{name} {what}: it must have {', '.join(bands)}")
        pairs = [(band, _opened(images[band], f"{name}[{band!r}]")) for band in bands]
        for band, image in pairs:
            for text in _stated_band(image):
                other = _plain(text) in {_plain(b) for b in bands} or (_HST.match(_plain(text)) and
                                                                       _HST.match(_plain(band)))  # fmt: skip
                if other and _plain(text) != _plain(band):
                    raise ValueError(f"{name}[{band!r}] states to be {text}")
        return pairs
    single = len(bands) == 1 and not isinstance(images, list | tuple)
    if single and (isinstance(images, str | os.PathLike) or np.ndim(getattr(images, "data", images)) == 2):
        images = [images]
    if isinstance(images, str | os.PathLike) or (isinstance(images, NDData) and images.data.ndim == 2):
        raise ValueError(f"{name} is one image, but the bands are {', '.join(bands)}: give a dict of images by band")
    if isinstance(images, NDData):
        images = _planes(images, name)
    elif not isinstance(images, list | tuple) and np.ndim(images) != 3:
        raise ValueError(f"{name} has the shape {np.shape(images)}; expected ({len(bands)}, h, w), or a dict of images "
                         f"by band: {', '.join(bands)}")
    if len(images) != len(bands):
        number = "1 image" if len(images) == 1 else f"{len(images)} images"
        raise ValueError(f"{name} has {number} for the band(s) {', '.join(bands)}")
    pairs = [(band, _opened(image, f"{name}[{band!r}]")) for band, image in zip(bands, images, strict=True)]
    for i, (band, image) in enumerate(pairs):
        stated = _stated_band(image)
        if stated and not any(_plain(band) == _plain(text) for text in stated):
            raise ValueError(f"{name}[{i}] states to be {' '.join(stated)}, but {band} is expected there: the order of "
                             f"the bands is {', '.join(bands)}; a dict of images by band has none")
    return pairs


def _planes(images, name):
    """The bands of an NDData (n_bands, h, w)."""
    shape, wcs = images.data.shape, fits_wcs(images, name)
    mask = None if images.mask is None else np.broadcast_to(images.mask, shape)
    sigma, wcs = standard_deviations(images, name), None if wcs is None else wcs.celestial
    return [
        NDData(data, unit=images.unit, wcs=wcs, mask=None if mask is None else mask[i],
               uncertainty=None if sigma is None else StdDevUncertainty(sigma[i]))
        for i, data in enumerate(images.data)
    ]  # fmt: skip


def _stated_band(image):
    """What a header calls the band, all of it that could be a filter."""
    if not isinstance(image, NDData):
        return []
    texts = [str(image.meta[key]).strip() for key in _KEYWORDS if key in image.meta]
    return [text for text in texts if text and not text.upper().startswith("CLEAR")]


def _plain(band):
    return re.sub(r"[^a-z0-9]", "", str(band).lower())


def _common_wcs(parts, name):
    """The WCS of the first band that has one; the others must agree with it."""
    known = [(part, without_stray_sip(part.wcs.celestial, part.data.shape, part.name)) for part in parts
             if part.wcs is not None and part.wcs.has_celestial]  # fmt: skip
    if not known:
        return None
    (first, wcs), *others = known
    height, width = first.data.shape
    x, y = np.array([0, width - 1, 0, width - 1, width / 2]), np.array([0, 0, height - 1, height - 1, height / 2])
    sky = wcs.pixel_to_world(x, y)
    for part, own in others:
        there = own.world_to_pixel(sky)
        shift = np.hypot(there[0] - x, there[1] - y).max()
        if not shift < _SHIFT:
            raise ValueError(f"the WCS of {part.band} and {first.band} in {name} differ by {shift:.3g} pixels: bring "
                             "all bands to the same pixels first, with the reproject package for example")
    return wcs
