"""
The Hubble Space Telescope's part in a scene: bands, zero points, noise and point-spread functions.

A PSF is computed from what makes it: the pupil (mirror, secondary, spider, pads and, in WFC3/IR, the cold mask), the
aberrations of the camera, the width of the band, the detector's pixel with its charge diffusion or inter-pixel
capacitance, and the drizzling to the pixels of the mosaic. All numbers of the optics are those of Tiny Tim 7.5 (Krist,
Hook & Stoehr 2011, Proc. SPIE 8127, 81270J; its files acswfc1.pup, acswfc1.tab and wfc3_ir.pup). What Tiny Tim has and
this has not: maps of the polishing errors of the mirrors, distortion, and changes over the field and with focus.
"""

from dataclasses import dataclass
from functools import lru_cache

import astropy.units as u
import numpy as np
from scipy import fft, ndimage

from astrolearn.core.inputs import as_quantity

__all__ = ["BANDS", "Band", "Camera", "PointSpread", "hst_psf"]

_DIAMETER = 2.4  # m, the primary mirror
_PADS = ((0.8921, 0.0), (-0.4615, 0.7555), (-0.4564, -0.7606))  # places of the mirror's pads, in units of its radius
_PAD_RADIUS = 0.065
_FINEST = 0.02  # arcsec: lambda / (2 D) at 0.47 micron, so that the light itself is fully sampled
_N_PUPIL = 256  # samples across the pupil: the images repeat only after 256 lambda / D, 10 arcsec at 0.47 micron
_N_WAVELENGTHS = 7


@dataclass(frozen=True)
class Camera:
    """
    A camera of HST as far as its PSF goes.

    Parameters
    ----------
    pixel : float
        Side of the detector's pixels, arcsec.
    secondary, spider, outer : float
        Radius of the central obscuration, width of the vanes and radius of the outer stop, each in units of the radius
        of the primary mirror.
    rotation : float
        Angle between the vanes and the pixels' axes, deg.
    wavefront : tuple of float
        Root mean square in micron of the aberrations from focus to spherical, numbers 4 to 11 of Noll (1976).
    diffusion : tuple of tuple
        Per wavelength (micron): the share of a pixel's charge that is read in each of its four neighbours, and in each
        of the four diagonal ones.
    """

    pixel: float
    secondary: float
    spider: float
    outer: float
    rotation: float
    wavefront: tuple
    diffusion: tuple


@dataclass(frozen=True)
class Band:
    """
    A band of a camera, and an image in it.

    Parameters
    ----------
    name : str
    zero_point : float
        AB magnitude of a source of 1 electron/s.
    wavelength : float
        Pivot wavelength, micron.
    limits : tuple of float
        Wavelengths in micron between which the band passes light.
    camera : `Camera` or None
        `None`: the PSF of the band cannot be computed and must be given.
    noise : float
        Standard deviation of the sky in a pixel of 0.06 arcsec, electron/s.
    correlation : float
        Correlation of the noise of neighbouring pixels, from 0 to 0.7.
    exposure : float
        Exposure time that goes with ``noise``, s.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    name: str
    zero_point: float
    wavelength: float
    limits: tuple
    camera: Camera | None
    noise: float
    correlation: float
    exposure: float

    def __post_init__(self):
        if not 0 <= self.correlation <= 0.7:
            raise ValueError(f"the correlation of {self.name}, {self.correlation}, is not between 0 and 0.7")
        for name in ("wavelength", "noise", "exposure"):
            if not getattr(self, name) > 0:
                raise ValueError(f"the {name} of {self.name}, {getattr(self, name)}, is not positive")
        if not 0 < self.limits[0] < self.limits[1]:
            raise ValueError(f"the limits of {self.name}, {self.limits}, do not increase from above 0")


# The coefficients of wavefront: Tiny Tim's own for the centre of ACS WFC1; for WFC3/IR, the constant terms of its
# field-dependent focus, astigmatism and coma.
_ACS = Camera(
    pixel=0.0495, secondary=0.33, spider=0.022, outer=1, rotation=-90,
    wavefront=(0.028, 0.031, 0.028, 0.003, 0.001, 0.008, 0.018, -0.025),
    diffusion=((0.4, 0.0965193, 0.0323256), (0.6, 0.0755252, 0.0231293), (0.8, 0.0455935, 0.0132919)),
)  # fmt: skip
_IR = Camera(
    pixel=0.13, secondary=0.354, spider=0.061, outer=0.9755, rotation=135,
    wavefront=(-0.012, 0.001, -0.008, 0.023, 0.013, 0, 0, 0),
    diffusion=((1.0, 0.025, 0.0007), (1.6, 0.025, 0.0007)),
)  # fmt: skip

# Zero points: WFC3's table of March 2012 (infinite aperture); for ACS, those in use with the CANDELS mosaics of GOODS-S
# (they drift by about 0.01 mag a decade). Pivot wavelengths and half-power limits: about those of the instruments'
# handbooks. Noise, correlation: measured on two CANDELS GOODS-S cutouts. Exposures: a choice of CANDELS Deep's order.
BANDS = {
    band.name: band
    for band in (
        Band("F160W", 25.946, 1.537, (1.40, 1.69), _IR, noise=0.0044, correlation=0.5, exposure=5000),
        Band("F125W", 26.230, 1.249, (1.10, 1.40), _IR, noise=0.0047, correlation=0.5, exposure=5000),
        Band("F606W", 26.505, 0.592, (0.47, 0.72), _ACS, noise=0.0049, correlation=0.1, exposure=6000),
        Band("F850LP", 24.867, 0.903, (0.83, 1.00), _ACS, noise=0.0022, correlation=0.17, exposure=15000),
    )
}
"""The four bands of CANDELS in which Morpheus (Hausen & Robertson 2020, ApJS 248, 20) works, by name."""


def hst_psf(band, *, pixel_scale="0.06 arcsec", n_pixels=101, pixfrac=0.8):
    """
    The PSF of HST in a band: the share of a point source's light in each pixel.

    Parameters
    ----------
    band : str or `Band`
        One of `BANDS`, or your own.
    pixel_scale : `~astropy.units.Quantity`, str, float or None, optional
        Side of the pixels of the drizzled mosaic; plain numbers are in arcsec. `None`: those of the detector, without
        drizzling, as Tiny Tim gives it. Default: 0.06 arcsec.
    n_pixels : int, optional
        Side of the image. Odd: the source is at the centre of the central pixel. Default: 101.
    pixfrac : float, optional
        Side of drizzle's drops in units of the detector's pixel. Default: 0.8.

    Returns
    -------
    psf : `numpy.ndarray`, (n_pixels, n_pixels)
        Its sum is 1: light outside is left out. The vanes' spikes are along x and y.

    Raises
    ------
    ValueError
        If the band is unknown, it has no camera, or ``n_pixels`` is not odd and positive.
    """
    band = read_band(band)
    if n_pixels < 1 or n_pixels % 2 == 0:
        raise ValueError(f"n_pixels={n_pixels} is not odd and positive")
    if pixel_scale is None:
        scale = None if band.camera is None else band.camera.pixel
        fine, oversampling = _fine_psf(band, scale, n_pixels, 0.0, False)
    else:
        scale = as_quantity(pixel_scale, u.arcsec, "pixel_scale").value.item()
        fine, oversampling = _fine_psf(band, scale, n_pixels, float(pixfrac), True)
    start = oversampling // 2
    psf = fine[start::oversampling, start::oversampling]
    return psf / psf.sum()


def read_band(band):
    """A `Band` from itself or its name."""
    if isinstance(band, Band):
        return band
    if band not in BANDS:
        raise ValueError(f"unknown band {band!r}: choose from {', '.join(BANDS)}, or give a Band with its own numbers")
    return BANDS[band]


class PointSpread:
    """
    A PSF at any place between the pixels and any roll of the telescope.

    Parameters
    ----------
    of_points, of_light : `numpy.ndarray`, (n * oversampling, n * oversampling)
        The light of a point source in pixels around each sample; and the same but for the pixels of the mosaic, for
        light that is already given in pixels.
    oversampling : int
        Samples per pixel, odd.
    rolls : bool
        Whether the PSF rolls with the telescope.
    """

    def __init__(self, of_points, of_light, oversampling, rolls):
        self._points, self._light = (ndimage.spline_filter(image, output=np.float32) for image in (of_points, of_light))
        self._oversampling, self._rolls = oversampling, rolls
        self.n_pixels = len(of_points) // oversampling

    @classmethod
    def of_band(cls, band, pixel_scale, n_pixels=101):
        """The computed PSF of a `Band`; ``pixel_scale`` in arcsec."""
        points, oversampling = _fine_psf(band, pixel_scale, n_pixels, 0.8, True)
        light, _ = _fine_psf(band, pixel_scale, n_pixels, 0.8, False)
        return cls(points, light, oversampling, True)

    @classmethod
    def of_image(cls, psf, name):
        """A PSF of one's own, an image (n, n) with odd n whose centre is that of the source."""
        psf = np.array(psf, dtype=float)
        if psf.ndim != 2 or psf.shape[0] != psf.shape[1] or psf.shape[0] % 2 == 0:
            raise ValueError(f"the psf of {name} has the shape {psf.shape}: give a square with odd sides")
        if not np.isfinite(psf).all() or psf.sum() <= 0:
            raise ValueError(f"the psf of {name} must be finite and have a positive sum")
        return cls(psf, psf, 1, False)

    def star(self, x, y, angle):
        """Image (n, n) of a point source at (x, y) pixels from the centre; roll in rad."""
        return self._sample(self._points, x, y, angle)

    def kernel(self, angle):
        """Image (n, n) with which light given in pixels is convolved."""
        return self._sample(self._light, 0, 0, angle)

    def _sample(self, spline, x, y, angle):
        half = self.n_pixels // 2
        step = np.arange(-half, half + 1)
        dx, dy = (step - x)[None, :], (step - y)[:, None]
        sine, cosine = (np.sin(angle), np.cos(angle)) if self._rolls else (0.0, 1.0)
        centre = (len(spline) - 1) / 2
        places = [centre + self._oversampling * (cosine * dy - sine * dx),
                  centre + self._oversampling * (cosine * dx + sine * dy)]  # fmt: skip
        image = ndimage.map_coordinates(spline, places, output=np.float32, prefilter=False)
        return image / image.sum()


@lru_cache(maxsize=32)
def _fine_psf(band, pixel_scale, n_pixels, pixfrac, with_pixel):
    """
    The PSF in samples that are finer than pixels, and their number per pixel.

    Drizzle lets drops fall on pixels: on average, that convolves with both. ``with_pixel`` False leaves out the pixel.
    """
    camera = band.camera
    if camera is None:
        raise ValueError(f"the band {band.name} has no camera from which to compute its PSF: give psf={{...}}")
    oversampling = 2 * int(np.ceil((pixel_scale / _FINEST - 1) / 2 - 1e-9)) + 1
    sample = pixel_scale / oversampling
    margin = int(np.ceil(2 * camera.pixel / sample))
    size = n_pixels * oversampling + 2 * margin
    offset = (np.arange(size) - (size - 1) / 2) * sample
    light = np.zeros((size, size))
    pupil, waves = _pupil(camera)
    grid = (np.arange(_N_PUPIL) + 0.5) / _N_PUPIL - 0.5  # in units of the diameter
    edges = np.linspace(*band.limits, _N_WAVELENGTHS + 1)
    for wavelength in (edges[1:] + edges[:-1]) / 2:
        per_arcsec = _DIAMETER / (wavelength * 1e-6) * u.arcsec.to(u.rad)
        to_image = np.exp(-2j * np.pi * per_arcsec * np.outer(offset, grid))
        field = to_image @ (pupil * np.exp(2j * np.pi * waves / wavelength)) @ to_image.T
        light += np.abs(field) ** 2
    # what follows is a product in Fourier space
    fy, fx = fft.fftfreq(size, sample)[:, None], fft.rfftfreq(size, sample)[None, :]
    transfer = _box(fx, fy, camera.pixel) * _box(fx, fy, pixfrac * camera.pixel)
    wavelengths, sides, corners = zip(*camera.diffusion, strict=True)
    side, corner = (np.interp(band.wavelength, wavelengths, shares) for shares in (sides, corners))
    cos_x, cos_y = (np.cos(2 * np.pi * camera.pixel * f) for f in (fx, fy))
    transfer *= 1 + 2 * side * (cos_x + cos_y - 2) + 4 * corner * (cos_x * cos_y - 1)
    if with_pixel:
        transfer *= _box(fx, fy, pixel_scale)
    light = fft.irfft2(fft.rfft2(light) * transfer, s=light.shape)[margin:-margin, margin:-margin]
    light /= light.sum()
    light.setflags(write=False)
    return light, oversampling


def _box(fx, fy, side):
    return np.sinc(fx * side) * np.sinc(fy * side)


def _pupil(camera):
    """Transmission of the pupil, and its wavefront error in micron, (256, 256) each."""
    axis = (2 * np.arange(_N_PUPIL) + 1) / _N_PUPIL - 1
    x, y = axis[None, :], axis[:, None]

    def covered(distance):
        """Share of a sample that is inside an edge, ``distance`` from it."""
        return np.clip(distance * _N_PUPIL / 2 + 0.5, 0, 1)

    turn = np.deg2rad(camera.rotation)
    across, along = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    radius = np.hypot(x, y)
    pupil = covered(camera.outer - radius) * covered(radius - camera.secondary)
    for axis_distance in (across, along):
        pupil *= 1 - covered(camera.spider / 2 - np.abs(axis_distance))
    for pad_along, pad_across in _PADS:
        pupil *= 1 - covered(_PAD_RADIUS - np.hypot(across - pad_across, along - pad_along))
    # Zernike polynomials that are orthonormal on this very pupil: the circle's, made so one after another
    r2, theta = radius**2, np.arctan2(along, across)
    r3, r = radius**3, radius
    basis = [
        np.ones_like(r), r * np.cos(theta), r * np.sin(theta), 2 * r2 - 1,
        r2 * np.cos(2 * theta), r2 * np.sin(2 * theta),
        (3 * r3 - 2 * r) * np.cos(theta), (3 * r3 - 2 * r) * np.sin(theta),
        r3 * np.cos(3 * theta), r3 * np.sin(3 * theta), 6 * r2**2 - 6 * r2 + 1,
    ]  # fmt: skip
    open_part = pupil > 0.5
    columns, triangle = np.linalg.qr(np.stack([mode[open_part] for mode in basis], axis=1))
    columns *= np.sign(np.diag(triangle)) * np.sqrt(len(columns))
    waves = np.zeros_like(pupil)
    waves[open_part] = columns[:, 3:] @ np.array(camera.wavefront)
    return pupil, waves
