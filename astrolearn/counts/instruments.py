"""
What turns a radio sky into an image: frequency, beam, pixels, noise and the point-spread function.

A beam is a Gaussian with a peak of 1, so that a point source of S Jy has a peak of S Jy/beam. Its Fourier transform is
known in closed form; convolutions multiply it with that of the sky, and no beam is ever sampled on the pixels.
"""

from dataclasses import dataclass
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.constants import c
from astropy.coordinates import EarthLocation
from astropy.io import fits
from scipy import fft

from astrolearn.core.inputs import as_quantity, to_float

__all__ = ["Instrument", "gaussian_beam_area", "synthesised_psf"]

_PADDING = 4  # side of the plane of baselines in units of the PSF's
_COVARIANCE = 1 / (8 * np.log(2))  # of a Gaussian, in units of its squared full width at half maximum


@dataclass(frozen=True, eq=False, kw_only=True)
class Instrument:
    """
    A radio telescope and its image.

    Quantities may be given as strings, plain numbers are in the unit named. ``dataclasses.replace`` makes a changed
    copy.

    Parameters
    ----------
    frequency : `~astropy.units.Quantity`
        GHz.
    beam_major : `~astropy.units.Quantity`
        Full width at half maximum of the (CLEAN) beam, along the major axis, arcsec.
    pixel_scale : `~astropy.units.Quantity`
        Side of the square pixels, arcsec.
    noise : `~astropy.units.Quantity`
        Standard deviation of the thermal noise, Jy/beam.
    beam_minor : `~astropy.units.Quantity`, optional
        Along the minor axis, at least two pixels, arcsec. Default: a circular beam.
    beam_pa : `~astropy.units.Quantity`, optional
        Position angle of the major axis, from north to east, deg. Default: 0.
    psf : array-like (n, n), path-like or None, optional
        Point-spread function ("dirty beam") on these pixels, n odd, with a peak of 1 in the middle: an array, a
        ``.npy`` file or a FITS image. Only restored images need one. Default: None.
    clean_threshold : `~astropy.units.Quantity`, optional
        Down to where sources are cleaned, Jy/beam. Default: five times the noise.

    Raises
    ------
    ValueError
        If a value is out of its range, the beam is undersampled, or the PSF has another shape or peak.

    Examples
    --------
    >>> from astrolearn.counts import Instrument
    >>> Instrument.preset("emu").noise
    <Quantity 2.5e-05 Jy / beam>
    """

    frequency: u.Quantity
    beam_major: u.Quantity
    pixel_scale: u.Quantity
    noise: u.Quantity
    beam_minor: u.Quantity = None
    beam_pa: u.Quantity = 0 * u.deg
    psf: np.ndarray = None
    clean_threshold: u.Quantity = None

    def __post_init__(self):
        minor = self.beam_major if self.beam_minor is None else self.beam_minor
        units = {"frequency": u.GHz, "beam_major": u.arcsec, "pixel_scale": u.arcsec, "noise": u.Jy / u.beam}
        values = {name: as_quantity(getattr(self, name), unit, name) for name, unit in units.items()}
        values["beam_minor"] = as_quantity(minor, u.arcsec, "beam_minor")
        values["beam_pa"] = as_quantity(self.beam_pa, u.deg, "beam_pa")
        threshold = 5 * values["noise"] if self.clean_threshold is None else self.clean_threshold
        values["clean_threshold"] = as_quantity(threshold, u.Jy / u.beam, "clean_threshold")
        values["psf"] = None if self.psf is None else _read_psf(self.psf)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        for name in ("frequency", "beam_minor", "pixel_scale"):
            if values[name] <= 0:
                raise ValueError(f"{name} must be positive, not {values[name]}")
        for name in ("noise", "clean_threshold"):
            if values[name] < 0:
                raise ValueError(f"{name} must not be negative, but is {values[name]}")
        if self.beam_minor > self.beam_major:
            raise ValueError(f"beam_minor={self.beam_minor} is larger than beam_major={self.beam_major}")
        if self.beam_minor < 2 * self.pixel_scale:
            raise ValueError(
                f"a beam of {self.beam_minor} needs pixels of at most half of that; pixel_scale={self.pixel_scale}"
            )

    @classmethod
    def preset(cls, name):
        """
        A known instrument.

        Parameters
        ----------
        name : {"emu", "regis2022"}
            ``"emu"``: the Evolutionary Map of the Universe with ASKAP (Norris et al. 2021, PASA 38, e046): 944 MHz,
            15 arcsec, 25 uJy/beam, here with pixels of 5 arcsec. ``"regis2022"``: the same with pixels of 7.03125
            arcsec, of which 2560 are the 5 deg of the images in the talk of Regis et al. (2022).

        Returns
        -------
        instrument : `Instrument`
        """
        pixels = {"emu": 5, "regis2022": 5 * 3600 / 2560}
        if name not in pixels:
            raise ValueError(f"instrument={name!r} is neither an Instrument nor one of {', '.join(map(repr, pixels))}")
        return cls(frequency=0.944, beam_major=15, noise=25e-6, pixel_scale=pixels[name])

    @property
    def beam_area(self):
        """Solid angle of the beam, sr."""
        return gaussian_beam_area(self.beam_major, self.beam_minor)

    @property
    def pixel_area(self):
        """Solid angle of a pixel, sr."""
        return (self.pixel_scale**2).to(u.sr)

    @property
    def pixels_per_beam(self):
        """Solid angle of the beam in pixels, the sum of the beam over the pixels."""
        return (self.beam_area / self.pixel_area).to_value(u.one)

    def beam_covariance(self):
        """Second moments of the beam, in square pixels along x (to the west) and y (to the north), (2, 2)."""
        angle = self.beam_pa.to_value(u.rad)
        axes = np.array([[-np.sin(angle), np.cos(angle)], [np.cos(angle), np.sin(angle)]])
        widths = u.Quantity([self.beam_major, self.beam_minor]) / self.pixel_scale
        return axes.T @ np.diag(_COVARIANCE * widths.to_value(u.one) ** 2) @ axes

    def beam_transfer(self, shape):
        """
        Fourier transform of the beam.

        Parameters
        ----------
        shape : (int, int)
            Rows and columns of the image.

        Returns
        -------
        transfer : `numpy.ndarray`, float32 (rows, columns // 2 + 1)
            To be multiplied with `scipy.fft.rfft2` of an image in Jy per pixel; at zero frequency it is
            `pixels_per_beam`.
        """
        covariance = 2 * np.pi**2 * self.beam_covariance()
        y, x = fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])
        exponent = covariance[0, 0] * x**2 + covariance[1, 1] * y**2 + 2 * covariance[0, 1] * x * y
        return (self.pixels_per_beam * np.exp(-exponent)).astype(np.float32)

    def psf_transfer(self, shape):
        """
        Fourier transform of the point-spread function.

        An interferometer has no baseline of zero length, so the transform is 0 at zero frequency: a dirty image has a
        mean of zero, whatever the (cut-out) point-spread function sums to.

        Parameters
        ----------
        shape : (int, int)
            Rows and columns of the image.

        Returns
        -------
        transfer : `numpy.ndarray`, float32 (rows, columns // 2 + 1)
            Real, because the transform of an interferometer's beam is: what is asymmetric in ``psf`` is left out.

        Raises
        ------
        ValueError
            If there is no PSF, or it is larger than the image.
        """
        if self.psf is None:
            raise ValueError("a restored image needs the point-spread function: Instrument(..., psf=...)")
        size = len(self.psf)
        if size > min(shape):
            raise ValueError(f"the psf has {size} pixels a side, the image only {min(shape)}")
        padded = np.zeros(shape, np.float32)
        padded[:size, :size] = self.psf
        centred = np.roll(padded, (-(size // 2), -(size // 2)), axis=(0, 1))
        transfer = fft.rfft2(centred, workers=2).real
        transfer[0, 0] = 0
        return transfer

    def convert(self, values, unit):
        """
        Convert brightness between Jy/beam, Jy/pixel, Jy/sr and K (Rayleigh-Jeans).

        Parameters
        ----------
        values : `~astropy.units.Quantity`
            Brightness in any of these units.
        unit : unit-like
            The wanted unit.

        Returns
        -------
        converted : `~astropy.units.Quantity`

        Raises
        ------
        astropy.units.UnitConversionError
            If a unit is no brightness; plain Jy is a flux density.
        """
        beam, pixel = self.beam_area.value, self.pixel_area.value
        brightness = u.Jy / u.sr
        equivalencies = [
            (u.Jy / u.beam, brightness, lambda x: x / beam, lambda x: x * beam),
            (u.Jy / u.pix, brightness, lambda x: x / pixel, lambda x: x * pixel),
            *u.brightness_temperature(self.frequency),
        ]
        return values.to(brightness, equivalencies).to(unit, equivalencies)


def gaussian_beam_area(major, minor=None):
    """
    Solid angle of a Gaussian beam, pi / (4 ln 2) major minor.

    Parameters
    ----------
    major, minor : `~astropy.units.Quantity`, str or float
        Full widths at half maximum; plain numbers are in arcsec. Default of the minor axis: a circular beam.

    Returns
    -------
    area : `~astropy.units.Quantity`
        In sr.
    """
    major = as_quantity(major, u.arcsec, "major")
    minor = major if minor is None else as_quantity(minor, u.arcsec, "minor")
    return (np.pi / (4 * np.log(2)) * major * minor).to(u.sr)


def synthesised_psf(
    antennas,
    *,
    frequencies,
    pixel_scale,
    declination="-30 deg",
    duration="10 h",
    robust=0.0,
    taper="10 arcsec",
    n_pixels=257,
):
    """
    Point-spread function of an array of antennas that tracks a source across the meridian.

    Baselines are sampled every five minutes, gridded to the nearest cell of the plane of baselines (small field: no w
    term), weighted after Briggs (1995) and tapered.

    Parameters
    ----------
    antennas : `~astropy.coordinates.EarthLocation` or array-like, (n_antennas, 3)
        Geocentric positions; plain numbers are in m.
    frequencies : `~astropy.units.Quantity` or array-like, (n_channels,)
        Of the channels that are imaged together; plain numbers are in GHz.
    pixel_scale : `~astropy.units.Quantity`, str or float
        Plain numbers are in arcsec.
    declination : `~astropy.units.Quantity`, str or float, optional
        Of the source; plain numbers are in deg. Default: -30 deg.
    duration : `~astropy.units.Quantity`, str or float, optional
        Of the track, half of it before the meridian; plain numbers are in hours. Default: 10 h.
    robust : float, optional
        Briggs' robustness: -2 is uniform, 2 natural weighting. Default: 0.
    taper : `~astropy.units.Quantity`, str or float, optional
        Full width at half maximum of the Gaussian in the image that the weights are tapered for; plain numbers are in
        arcsec. Default: 10 arcsec.
    n_pixels : int, optional
        Side of the result, odd. Default: 257.

    Returns
    -------
    psf : `numpy.ndarray`, float32 (n_pixels, n_pixels)
        With a peak of 1 in the middle, for `Instrument`; x to the west and y to the north.

    Raises
    ------
    ValueError
        If there are fewer than two antennas, ``n_pixels`` is even, or no baseline fits on the pixels.
    """
    if isinstance(antennas, EarthLocation):
        antennas = u.Quantity([antennas.x, antennas.y, antennas.z]).T
    position = to_float(antennas, u.m, "antennas", shape=("n_antennas", 3), dtype=np.float64)
    channels = to_float(frequencies, u.GHz, "frequencies", shape=("n_channels",), dtype=np.float64) * u.GHz
    pixel = as_quantity(pixel_scale, u.arcsec, "pixel_scale").to_value(u.rad)
    dec = as_quantity(declination, u.deg, "declination").to_value(u.rad)
    hours = as_quantity(duration, u.h, "duration").value
    if len(position) < 2 or n_pixels % 2 == 0:
        raise ValueError(f"at least two antennas (not {len(position)}) and an odd n_pixels (not {n_pixels}) are needed")
    size = 2 * fft.next_fast_len(_PADDING * n_pixels // 2, real=True)
    first, second = np.triu_indices(len(position), 1)
    east, north = _track(position[first] - position[second], position.mean(axis=0), dec, hours)
    density = np.zeros((size, size))
    for wavenumber in (channels / c).to_value(1 / u.m):
        # x grows to the west, against u; both signs, because a real sky has a Hermitian transform
        column, row = (np.rint(axis * wavenumber * size * pixel).astype(int) for axis in (-east, north))
        inside = np.maximum(np.abs(column), np.abs(row)) < size // 2
        for sign in (1, -1):
            np.add.at(density, (sign * row[inside] % size, sign * column[inside] % size), 1.0)
    density[0, 0] = 0
    if not density.any():
        raise ValueError("all baselines are longer than pixels of this scale can hold")
    # Briggs (1995, thesis, chapter 3): weights 1 / (1 + f^2 density), f = 5 10^-robust over the mean weighted density
    scale = (5 * 10**-robust) ** 2 * density.sum() / (density**2).sum()
    width = as_quantity(taper, u.arcsec, "taper").to_value(u.rad) / pixel
    frequency = fft.fftfreq(size)
    tapered = np.exp(-2 * np.pi**2 * _COVARIANCE * width**2 * (frequency[:, None] ** 2 + frequency**2))
    psf = fft.fftshift(fft.ifft2(tapered * density / (1 + scale * density)).real)
    middle = slice(size // 2 - n_pixels // 2, size // 2 + n_pixels // 2 + 1)
    return (psf[middle, middle] / psf.max()).astype(np.float32)


def _track(baselines, centre, declination, hours):
    """Components of baselines (n, 3) to the east and north as seen from a source, in metres, (n_times, n) each."""
    longitude = np.arctan2(centre[1], centre[0])
    x = baselines[:, 0] * np.cos(longitude) + baselines[:, 1] * np.sin(longitude)
    y = baselines[:, 1] * np.cos(longitude) - baselines[:, 0] * np.sin(longitude)
    angle = np.pi / 12 * np.linspace(-hours / 2, hours / 2, int(12 * hours) + 1)[:, None]
    # Thompson, Moran & Swenson (2017), eq. 4.1
    east = np.sin(angle) * x + np.cos(angle) * y
    inward = np.cos(angle) * x - np.sin(angle) * y
    return east, np.cos(declination) * baselines[:, 2] - np.sin(declination) * inward


def read_instrument(instrument):
    """An `Instrument` from itself or the name of a preset."""
    return instrument if isinstance(instrument, Instrument) else Instrument.preset(instrument)


def _read_psf(psf):
    if isinstance(psf, (str, Path)):
        psf = np.load(psf) if Path(psf).suffix == ".npy" else np.squeeze(fits.getdata(psf))
    psf = to_float(psf, None, "psf", shape=("n", "n"))
    n = len(psf)
    if psf.shape != (n, n) or n % 2 == 0:
        raise ValueError(f"psf must be square with an odd number of pixels, not {psf.shape}")
    peak = psf[n // 2, n // 2]
    if not np.isclose(peak, 1, atol=1e-3) or psf.max() > peak:
        raise ValueError(f"psf must have its peak of 1 in the middle; there it is {peak:g}, its maximum {psf.max():g}")
    psf.setflags(write=False)
    return psf
