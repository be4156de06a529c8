"""
One way in for radio images: arrays, `~astropy.nddata.NDData` and FITS files, to plain numbers in Jy/beam.

A brightness means something only together with the beam, and an estimator only knows the beam, the pixels, the
frequency and the noise that it was trained with. So all of these are collected here, from keywords, from headers or,
for bare numbers, from the training, and images of another kind are refused in words that say what the training was.
"""

import os
import warnings
from dataclasses import dataclass, replace

import astropy.units as u
import numpy as np
from astropy.coordinates import angular_separation
from astropy.io.fits.card import Undefined
from astropy.nddata import NDData
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS, FITSFixedWarning

from astrolearn.core.inputs import as_quantity, to_float
from astrolearn.sky.fits_tools import column_unit, open_fits
from astrolearn.sky.image_io import image_from_hdus

__all__ = ["RadioImages", "read_radio_images"]

BRIGHTNESS = u.Jy / u.beam

# Units of brightness, and what must be known to convert them
_NEEDED = {
    BRIGHTNESS: (), u.Jy / u.sr: ("beam",), u.Jy / u.pix: ("beam", "pixel_scale"), u.K: ("beam", "frequency"),
    u.Jy: ("beam",),
}  # fmt: skip
# Relative differences to the training above which to warn and to refuse. n goes with the solid angle of the beam, so
# 5 % of its diameter are 0.04 dex; a flux density changes by 0.06 dex over 20 % in frequency.
_TOLERANCE = {"beam_major": (0.01, 0.05), "beam_minor": (0.01, 0.05), "pixel_scale": (0.01, 0.05),
              "frequency": (0.02, 0.2)}  # fmt: skip
_NOISE_TOLERANCE = 0.05
_SAME = 0.01  # relative difference of images that are read together
_SQUARE = 0.1  # relative difference of the sides of pixels
_SCATTER = 0.5, 30.0  # of the pixels over the noise; outside, one of them is wrong
_SAMPLE = 100_000  # pixels from which the scatter is found
_UNITS = {"beam_major": u.arcsec, "beam_minor": u.arcsec, "pixel_scale": u.arcsec, "frequency": u.GHz}


@dataclass(frozen=True, eq=False)
class RadioImages:
    """
    Radio images of one kind.

    Attributes
    ----------
    values : list of `numpy.ndarray`, float32 (height, width)
        In Jy/beam, NaN where blank; each has a valid pixel, and they may differ in shape.
    beam_major, beam_minor : `~astropy.units.Quantity`
        Full widths of the beam at half maximum, arcsec.
    pixel_scale : `~astropy.units.Quantity`
        Side of a pixel, arcsec.
    frequency : `~astropy.units.Quantity`
        GHz.
    noise : `~astropy.units.Quantity`, (n,)
        Of each image, Jy/beam; NaN where neither the image nor the caller states it.
    """

    values: list
    beam_major: u.Quantity
    beam_minor: u.Quantity
    pixel_scale: u.Quantity
    frequency: u.Quantity
    noise: u.Quantity

    def __len__(self):
        return len(self.values)

    @property
    def area(self):
        """Solid angle of the valid pixels of each image, sr, (n,)."""
        n_valid = [np.count_nonzero(~np.isnan(values)) for values in self.values]
        return n_valid * (self.pixel_scale**2).to(u.sr)

    def check_scatter(self):
        """
        Refuse images whose pixels do not scatter as their noise says, such as those in another unit than stated.

        Raises
        ------
        ValueError
            If half the width that holds 68 % of the pixels is less than half or more than 30 times the noise.
        """
        for index, (values, noise) in enumerate(zip(self.values, self.noise.value, strict=True)):
            if not noise > 0:
                continue
            valid = values[~np.isnan(values)]
            low, high = np.quantile(valid[:: -(-valid.size // _SAMPLE)], [0.158655, 0.841345])
            scatter = (high - low) / 2
            if not _SCATTER[0] * noise <= scatter <= _SCATTER[1] * noise:
                raise ValueError(
                    f"the pixels of image {index} scatter by {scatter:.3g} Jy/beam, its noise is {noise:.3g} Jy/beam: "
                    "check the unit of the image, or pass noise=..."
                )


def read_radio_images(X, *, trained, beam=None, pixel_scale=None, frequency=None, noise=None, noise_range=None):
    """
    Read radio images and compare them with those of a training.

    What is passed here counts first, then what an image states itself: ``BMAJ`` and ``BMIN`` (deg), ``FREQ`` (Hz), an
    axis of frequency or ``RESTFRQ`` (Hz), ``NOISE`` or ``RMS`` (in the unit of the image), and the pixels of its WCS in
    the middle of the image. Bare arrays and Quantities are taken to be as in the training, noise included.

    Parameters
    ----------
    X : array-like (n, height, width) or (height, width), `~astropy.nddata.NDData`, path-like, or list of images
        Images of a list are arrays, Quantities, NDData (CCDData) or paths of FITS files, and may differ in shape.
        Leading axes of length 1 (Stokes, frequency) are dropped. Units are those of brightness: Jy/beam and its
        multiples (numbers without a unit, too), Jy/sr, Jy/pix, K (Rayleigh-Jeans); plain Jy of images with a known beam
        are taken as Jy/beam, with a warning. NaN and masked pixels are blank.
    trained : `Instrument`
        What the estimator was trained for.
    beam : `~astropy.units.Quantity`, str, float or a pair, optional
        Full width at half maximum, or major and minor; plain numbers in arcsec.
    pixel_scale, frequency : `~astropy.units.Quantity`, str or float, optional
        Plain numbers are in arcsec and GHz.
    noise : `~astropy.units.Quantity`, str, float or sequence (n,), optional
        Standard deviation of the noise; plain numbers in Jy/beam.
    noise_range : pair of `~astropy.units.Quantity` or float, optional
        Noise that the estimator can do with; plain numbers in Jy/beam. Default: within 5 % of the trained one.

    Returns
    -------
    images : RadioImages

    Raises
    ------
    astropy.units.UnitConversionError
        If a unit is no brightness.
    ValueError
        If there is no image, an image has no valid pixel, other dimensions or pixels that are not square, what a unit
        needs to be converted is not known (K without a beam), there is a beam per channel (``CASAMBM``), images differ
        in kind, or are unlike those of the training: by more than 5 % in the beam or the pixels, 20 % in frequency, or
        with a noise outside ``noise_range``.
    OSError
        If a file cannot be read.

    Warns
    -----
    astropy.utils.exceptions.AstropyUserWarning
        If an `~astropy.nddata.NDData` or file does not state its beam, pixels or frequency, so that those of the
        training are taken, has no unit, or is in plain Jy; or if the beam or the pixels differ by more than 1 % from
        those of the training, or the frequency by more than 2 %.
    """
    given = _given(beam, pixel_scale, frequency)
    values, kinds, noises, notes = [], [], [], {}
    for name, item in _items(X):
        if isinstance(item, (str, os.PathLike)):
            name = os.fspath(item)
        stated, is_bare, unit, item = _open(item, name, given, notes)
        if not is_bare:
            _note_missing(stated, trained, name, notes)
        _compare(stated, trained, name, notes)
        block, factor = _to_brightness(item, unit, stated, trained, name, notes)
        own_noise = stated.pop("noise", np.nan) * factor
        kinds += [(name, _complete(stated, trained))] * len(block)
        noises += [trained.noise.value if is_bare else own_noise] * len(block)
        values += list(block)
    _check_blank(values)
    kind = _common(kinds)
    noises = _read_noise(noises, noise, noise_range, trained)
    for note in notes.values():
        warnings.warn(note, AstropyUserWarning, stacklevel=2)
    return RadioImages(values, **{key: kind[key] * unit for key, unit in _UNITS.items()}, noise=noises)


def _given(beam, pixel_scale, frequency):
    """The caller's words on the kind of images, plain numbers in the units of `_UNITS`."""
    given = {}
    if beam is not None:
        widths = np.atleast_1d(as_quantity(beam, u.arcsec, "beam").value)
        if widths.shape not in ((1,), (2,)) or not (widths > 0).all() or widths[-1] > widths[0]:
            raise ValueError(f"beam={beam} must be a positive width or a pair of them (major, minor)")
        given |= {"beam_major": float(widths[0]), "beam_minor": float(widths[-1])}
    for name, value in (("pixel_scale", pixel_scale), ("frequency", frequency)):
        if value is not None:
            given[name] = float(as_quantity(value, _UNITS[name], name).value)
            if not given[name] > 0:
                raise ValueError(f"{name}={value} must be positive")
    return given


def _items(X):
    """Names and images (arrays may hold several) of whatever holds images."""
    if isinstance(X, (str, os.PathLike, NDData)):
        return [("X", X)]
    if isinstance(X, (list, tuple)):
        if not X:
            raise ValueError("X is empty: it has no images")
        if all(isinstance(x, (str, os.PathLike, NDData)) or np.ndim(x) >= 2 for x in X):
            return [(f"X[{i}]", x) for i, x in enumerate(X)]
    return [("X", X)]


def _open(item, name, given, notes):
    """What is known of an image, whether it is a bare array, its unit, and the array or NDData."""
    if isinstance(item, (str, os.PathLike)):
        image, wcs = _read_file(item, notes)
        return _stated(image, wcs, name, given), False, image.unit, image
    unit = getattr(item, "unit", None)
    if not isinstance(item, NDData):
        if isinstance(item, (list, tuple)):
            units = {getattr(x, "unit", None) for x in item}
            unit = units.pop() if len(units) == 1 else BRIGHTNESS
        return dict(given), True, unit, item
    if unit is None:
        notes["unit"] = f"{name} states no unit: taken as Jy/beam"
    return _stated(item, item.wcs, name, given), False, unit, item


def _read_file(path, notes):
    """Image of a FITS file with its header as meta, and its whole WCS."""
    with open_fits(path) as hdus:
        index = next((i for i, hdu in enumerate(hdus) if hdu.is_image and hdu.header["NAXIS"] >= 2), None)
        header = hdus[index or 0].header
        if index is not None and not header.get("BUNIT"):
            notes["unit"] = f"{os.fspath(path)} states no unit (BUNIT): taken as Jy/beam"
        unit = column_unit(header.get("BUNIT"), BRIGHTNESS, "the image")
        image = image_from_hdus(hdus, hdu=index, unit=unit)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)  # old names of projections and frequencies are understood
            return image, WCS(header)


def _stated(image, wcs, name, given):
    """What the caller and the image say, plain numbers in the units of `_UNITS`; ``noise`` in that of the image."""
    meta = {key: image.meta[key] for key in ("BMAJ", "BMIN", "FREQ", "RESTFRQ", "RESTFREQ", "NOISE", "RMS", "CASAMBM")
            if key in image.meta and not isinstance(image.meta[key], (Undefined, type(None)))}  # fmt: skip

    def number(*keys, unit):
        found = (as_quantity(meta[key], unit, f"{key} of {name}").value for key in keys if key in meta)
        return next((float(value) for value in found if value > 0), None)

    if meta.get("CASAMBM") and "beam_major" not in given:
        raise ValueError(f"{name} has a beam per channel (CASAMBM): convolve to a common one, or pass beam=...")
    major, minor = number("BMAJ", unit=u.deg), number("BMIN", "BMAJ", unit=u.deg)
    sky = {} if wcs is None else _sky_axes(wcs, image.data.shape, name)
    stated = {
        "beam_major": None if major is None else max(major, minor) * 3600,
        "beam_minor": None if major is None else min(major, minor) * 3600,
        "pixel_scale": sky.get("pixel_scale"),
    }
    hertz = number("FREQ", unit=u.Hz) or sky.get("frequency") or number("RESTFRQ", "RESTFREQ", unit=u.Hz)
    stated["frequency"] = None if hertz is None else hertz / 1e9
    for key in ("NOISE", "RMS"):
        if key in meta:
            value = meta[key]
            unit = getattr(image, "unit", None) or BRIGHTNESS
            stated.setdefault("noise", float(as_quantity(value, unit, f"{key} of {name}").value))
    return {key: value for key, value in stated.items() if value is not None} | given


def _sky_axes(wcs, shape, name):
    """Side of the pixel in the middle (arcsec) and frequency (Hz), as far as the WCS knows."""
    low = wcs.low_level_wcs
    types = [kind or "" for kind in low.world_axis_physical_types]
    if low.pixel_n_dim < 2 or len(shape) < 2:
        return {}
    x, y = (shape[-1] - 1) / 2, (shape[-2] - 1) / 2
    pixels = [np.array([x, x + 1, x]), np.array([y, y, y + 1]), *np.zeros((low.pixel_n_dim - 2, 3))]
    world = [np.asarray(axis) << u.Unit(unit)
             for axis, unit in zip(low.pixel_to_world_values(*pixels), low.world_axis_units, strict=True)]
    result = {}
    if "em.freq" in types:
        result["frequency"] = float(world[types.index("em.freq")][0].to_value(u.Hz))
    longitude = next((i for i, kind in enumerate(types) if kind.endswith((".ra", ".lon"))), None)
    latitude = next((i for i, kind in enumerate(types) if kind.endswith((".dec", ".lat"))), None)
    if longitude is not None and latitude is not None:
        lon, lat = world[longitude], world[latitude]
        sides = angular_separation(lon[0], lat[0], lon[1:], lat[1:]).to_value(u.arcsec)
        if abs(np.log(sides[0] / sides[1])) > _SQUARE:
            raise ValueError(f"{name} has pixels of {sides[0]:.4g} x {sides[1]:.4g} arcsec: resample to square ones")
        if np.isfinite(sides).all():
            result["pixel_scale"] = float(np.sqrt(sides.prod()))
    return result


def _note_missing(stated, trained, name, notes):
    keys = [key for key in ("beam_major", "pixel_scale", "frequency") if key not in stated]
    if keys:
        words = ", ".join(f"{key.removesuffix('_major')}={getattr(trained, key):.6g}" for key in keys)
        notes["missing"] = f"{name} does not state all that is needed; taken from the training: {words}"


def _compare(stated, trained, name, notes):
    """Refuse or note what differs from the training."""
    for key, (warn, refuse) in _TOLERANCE.items():
        own, unit = getattr(trained, key).value, _UNITS[key]
        difference = np.log(stated.get(key, own) / own)
        if abs(difference) <= np.log1p(warn):
            continue
        text = f"{name} has {key}={stated[key]:.6g} {unit}; this was trained for {own:.6g} {unit}"
        if abs(difference) <= np.log1p(refuse):
            notes[key] = text
        elif key == "pixel_scale":
            raise ValueError(f"{text}: resample the image to such pixels")
        elif key.startswith("beam") and difference < 0:
            raise ValueError(f"{text}: convolve the image to that beam")
        else:
            raise ValueError(f"{text}: use other weights, or fit an estimator to such images")


def _to_brightness(item, unit, stated, trained, name, notes):
    """Images (n, height, width) in Jy/beam, and what the unit of the image is in it."""
    unit = BRIGHTNESS if unit is None else u.Unit(unit)
    base = next((known for known in _NEEDED if unit.is_equivalent(known)), None)
    if base is None:
        raise u.UnitConversionError(
            f"{name} has the unit '{unit}', which is no brightness: Jy/beam, K, Jy/sr or Jy/pix is needed"
        )
    have = {key.removesuffix("_major") for key in stated}
    missing = [need for need in _NEEDED[base] if need not in have]
    if missing:
        raise ValueError(
            f"{name} has the unit '{unit}', for which its {' and '.join(missing)} must be known: pass "
            f"{', '.join(f'{need}=...' for need in missing)}"
        )
    values = to_float(item, base, name, missing="keep")
    factor = 1.0
    if base == u.Jy:
        notes["Jy"] = f"{name} has the unit '{unit}' and a beam: taken as {unit}/beam"
    elif base != BRIGHTNESS:
        tool = replace(trained, psf=None, **{key: stated[key] for key in _UNITS if key in stated})
        factor = float(tool.convert(1 * base, BRIGHTNESS).value)
        values *= np.float32(factor)
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    n_axes = 2 if isinstance(item, NDData) else 3
    if not 2 <= values.ndim <= n_axes:
        raise ValueError(
            f"{name} has the shape {values.shape}; images are (height, width), several (n, height, width) or a list"
        )
    return values.reshape(-1, *values.shape[-2:]), factor * unit.to(base)


def _complete(stated, trained):
    return {key: stated.get(key, getattr(trained, key).value) for key in _UNITS}


def _check_blank(values):
    for index, image in enumerate(values):
        if np.isnan(image).all():
            raise ValueError(f"image {index} of X has no pixel that is not NaN or masked")


def _common(kinds):
    """The kind that all images share."""
    first_name, first = kinds[0]
    for name, kind in kinds:
        for key, value in kind.items():
            if abs(value / first[key] - 1) > _SAME:
                raise ValueError(
                    f"{first_name} and {name} differ in {key}, {first[key]:.6g} and {value:.6g} {_UNITS[key]}: read "
                    "them by themselves"
                )
    return first


def _read_noise(noises, noise, noise_range, trained):
    """Noise of each image, checked against what the estimator can do with."""
    noises = np.array(noises, dtype=float)
    if noise is not None:
        noise = as_quantity(noise, BRIGHTNESS, "noise").value
        if noise.shape not in ((), noises.shape):
            raise ValueError(f"noise has the shape {noise.shape}; there are {len(noises)} images")
        noises[:] = noise
    if noise_range is None:
        noise_range = trained.noise.value / (1 + _NOISE_TOLERANCE), trained.noise.value * (1 + _NOISE_TOLERANCE)
    low, high = as_quantity(noise_range, BRIGHTNESS, "noise_range").value
    # the ends are within, rounding apart
    outside = np.flatnonzero((noises < low * (1 - 1e-6)) | (noises > high * (1 + 1e-6)))
    if outside.size:
        raise ValueError(
            f"image {outside[0]} of X has a noise of {noises[outside[0]]:.4g} Jy/beam; this was trained for {low:.4g} "
            f"to {high:.4g} Jy/beam"
        )
    return noises * BRIGHTNESS
