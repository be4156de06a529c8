"""
Simulated scenes: galaxies and stars as HST sees them in several bands, with the class of every pixel.

A network for pixels needs pixels whose classes are known. Here they follow from the light itself: sources are drawn
and convolved one by one in the band of detection, so that every pixel knows whose light it holds before there is any
noise. A source that noise would hide has no label, though its light is there; where sources overlap, a pixel belongs to
the brightest one and is of each class by its share of the light. Backgrounds are taken to be subtracted, and the bands
keep their own PSFs, as in the mosaics of CANDELS.

What is drawn from measurements: PSFs, zero points, level and correlation of the noise. What is a choice: number counts
(power laws, one for stars and one for galaxies; 200 sources per square arcminute to magnitude 26.5), fractions of the
classes among all of them, positions (not clustered, except that neighbours fall together by chance) and everything in
`galaxies`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.wcs import WCS
from photutils.segmentation import SegmentationImage
from scipy import fft, ndimage

from astrolearn.core.inputs import as_quantity
from astrolearn.core.seeding import make_rng
from astrolearn.core.tables import SampleTable
from astrolearn.morphology.galaxies import CLASSES, draw_source
from astrolearn.morphology.hst import PointSpread, read_band

__all__ = ["PIXEL_CLASSES", "GalaxySceneSimulator", "Scene"]

PIXEL_CLASSES = (*CLASSES, "background")
"""Classes of pixels, in the order of `Scene.labels`."""

# Disks are the most, and stars the fewest but for bright magnitudes: a choice near what Kartaltepe et al. (2015, ApJS
# 221, 11) saw at H < 24.5.
_FRACTIONS = {"spheroid": 0.25, "disk": 0.45, "irregular": 0.22, "point_source": 0.08}
_SLOPE = 0.32  # of log10 of the number of galaxies per magnitude
_STAR_SLOPE = 0.12  # stars of high latitudes: bright sources are mostly stars, faint ones galaxies
_MARGIN = 30  # pixels around the image in which there are sources as well, whose light reaches in
_COMMON, _OWN = 0.75, 0.25  # powers of 2 by which the noise varies: of all bands together and of each
_CENTRE = (53.12, -27.8)  # deg, GOODS-S


@dataclass(frozen=True)
class Scene:
    """
    A simulated field.

    Parameters
    ----------
    images : dict of `~astropy.nddata.CCDData`
        By band, (h, w) float32 in electron/s with a TAN WCS (north up, east left) and the standard deviation of the
        noise, Poisson noise of the sources included. ``meta`` has FILTER, MAGZERO (AB magnitude of 1 electron/s),
        NOISE (of the sky, electron/s) and EXPTIME (s).
    labels : `numpy.ndarray`, float32 (5, h, w)
        Share of each of `PIXEL_CLASSES` in a pixel; their sum is 1. Outside the segments, all is background.
    segmap : `~photutils.segmentation.SegmentationImage`
        Labels of the sources; it may be empty.
    sources : `~astrolearn.core.tables.SampleTable`
        All sources with light in the field, labelled or not, in no order. ``label`` (0: none), ``class``, ``coord``,
        ``x_centroid`` and ``y_centroid`` (centre, 0-based pixels; it may be outside the image), ``mag_<band>`` (AB),
        ``effective_radius`` (arcsec, along the major axis), ``sersic_index``, ``axis_ratio`` and ``position_angle``
        (deg, east of north), all of the main profile and 0 or NaN of point sources, ``bulge_to_total`` (first band),
        ``redshift``, ``snr`` (of a matched filter in the first band) and ``n_pixels`` (of the segment).
    """

    images: dict
    labels: np.ndarray
    segmap: SegmentationImage
    sources: SampleTable


class GalaxySceneSimulator:
    """
    Simulates fields of galaxies and stars in several bands.

    Parameters
    ----------
    bands : sequence of str or `~astrolearn.morphology.hst.Band`, optional
        The first is that of detection and of ``magnitudes``. Default: the four of Morpheus, ``("F160W", "F125W",
        "F606W", "F850LP")``.
    shape : pair of int, optional
        Height and width in pixels. Default: (256, 256).
    pixel_scale : `~astropy.units.Quantity`, str or float, optional
        Plain numbers are in arcsec. Default: 0.06 arcsec.
    density : `~astropy.units.Quantity`, str or float, optional
        Sources within ``magnitudes`` per solid angle; plain numbers are per square arcminute. Default: 200.
    magnitudes : pair of float, optional
        Brightest and faintest AB magnitude in the first band. Default: (18, 26.5).
    class_fractions : dict of float, optional
        Fraction of the sources by class; classes that are left out do not occur. Default: spheroid 0.25, disk 0.45,
        irregular 0.22, point_source 0.08.
    noise : dict, optional
        Standard deviation of the sky in a pixel by band; plain numbers are in electron/s. Default: that of the bands,
        times a factor of 0.5 to 2 that differs from scene to scene and a little from band to band.
    psf : dict of array, optional
        Your own PSFs by band, (n, n) with odd n, in pixels of the image. Bands that are left out have the computed one.
    isophote : float, optional
        Brightness in units of the sky's standard deviation per pixel above which a pixel belongs to a source.
        Default: 1.
    min_snr : float, optional
        Signal-to-noise ratio of a matched filter in the first band below which a source is background. Default: 5.
    min_pixels : int, optional
        Pixels that a source must have to get a label; smaller islands above the isophote, such as pieces of
        diffraction rings, are background as well. Default: 5.

    Raises
    ------
    astropy.units.UnitConversionError
        If a unit does not fit.
    ValueError
        If a band is unknown or given twice, a shape or scale is not positive, fractions name an unknown class or are
        negative, or a noise or PSF is not usable.

    Notes
    -----
    Exposure times follow the noise as that of a sky-limited image. Noise of neighbouring pixels is correlated, as
    drizzling makes it, and the matched filter's noise is that of large areas, which is larger than that of pixels
    taken to be independent.

    Examples
    --------
    >>> from astrolearn.morphology.scenes import GalaxySceneSimulator
    >>> scene = GalaxySceneSimulator(shape=(64, 64), density=1000).sample(1, random_state=0)[0]
    >>> list(scene.images), scene.labels.shape
    (['F160W', 'F125W', 'F606W', 'F850LP'], (5, 64, 64))
    """

    def __init__(
        self,
        *,
        bands=("F160W", "F125W", "F606W", "F850LP"),
        shape=(256, 256),
        pixel_scale="0.06 arcsec",
        density=200.0,
        magnitudes=(18, 26.5),
        class_fractions=None,
        noise=None,
        psf=None,
        isophote=1.0,
        min_snr=5.0,
        min_pixels=5,
    ):
        self.bands = tuple(read_band(band) for band in ((bands,) if isinstance(bands, str) else bands))
        names = [band.name for band in self.bands]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"bands={names}: give at least one, and each once")
        if np.shape(shape) != (2,) or not all(length >= 1 and length == int(length) for length in shape):
            raise ValueError(f"shape={shape} is not two positive integers")
        self.shape = tuple(int(length) for length in shape)
        self.pixel_scale = as_quantity(pixel_scale, u.arcsec, "pixel_scale")
        if self.pixel_scale.size != 1 or self.pixel_scale <= 0:
            raise ValueError(f"pixel_scale={pixel_scale} is not positive")
        self.density = as_quantity(density, u.arcmin**-2, "density")
        if self.density < 0:
            raise ValueError(f"density={density} is negative")
        self.magnitudes = tuple(float(magnitude) for magnitude in magnitudes)
        if len(self.magnitudes) != 2 or not self.magnitudes[0] < self.magnitudes[1]:
            raise ValueError(f"magnitudes={magnitudes} is not a brighter and a fainter one")
        self.class_fractions = _read_fractions(_FRACTIONS if class_fractions is None else class_fractions)
        self.noise = None if noise is None else _read_noise(noise, names)
        for name, value in (("isophote", isophote), ("min_snr", min_snr), ("min_pixels", min_pixels)):
            if not value > 0:
                raise ValueError(f"{name}={value} is not positive")
        self.isophote, self.min_snr, self.min_pixels = isophote, min_snr, min_pixels
        self.psf = {} if psf is None else _read_mapping(psf, "psf")
        if set(self.psf) - set(names):
            raise ValueError(f"psf has bands that are not among {names}: {sorted(set(self.psf) - set(names))}")
        scale = self.pixel_scale.value.item()
        self._psfs = [
            PointSpread.of_image(self.psf[band.name], band.name)
            if band.name in self.psf
            else PointSpread.of_band(band, scale)
            for band in self.bands
        ]
        self._wavelengths = np.array([band.wavelength for band in self.bands])
        self._zero_points = np.array([band.zero_point for band in self.bands])

    def sample(self, n, random_state=None):
        """
        Simulate scenes.

        Parameters
        ----------
        n : int
            How many.
        random_state : int, Generator or None, optional

        Returns
        -------
        scenes : list of `Scene`
        """
        return list(self.stream(n, random_state))

    def stream(self, n, random_state=None):
        """
        Simulate scenes one by one, in bounded memory.

        Parameters
        ----------
        n, random_state
            As for `sample`, which gives the same scenes.

        Yields
        ------
        scene : `Scene`
        """
        for seed in make_rng(random_state).integers(2**63, size=n):
            rng = np.random.default_rng(seed)
            x, y, sources = self._draw_sources(rng)
            yield self.observe(x, y, sources, rng)

    def observe(self, x, y, sources, random_state=None):
        """
        Simulate a scene of given sources.

        Parameters
        ----------
        x, y : array-like, (n,)
            Centres, 0-based pixels; they may be outside the image.
        sources : sequence of `~astrolearn.morphology.galaxies.Source`, (n,)
            With a magnitude in each band.
        random_state : int, Generator or None, optional
            Of the noise and the roll of the telescope.

        Returns
        -------
        scene : `Scene`
        """
        rng = make_rng(random_state)
        noise = self._draw_noise(rng)
        # visits with one camera share a roll
        rolls = {}
        angles = [rolls.setdefault(band.camera, rng.uniform(0, 2 * np.pi)) for band in self.bands]
        canvas = _Canvas(self.shape, self._psfs, angles)
        light = _DetectedLight(self.shape, len(sources))
        exposures = [self._exposure(band, level) for band, level in zip(self.bands, noise, strict=True)]
        for index, (x_one, y_one, source) in enumerate(zip(x, y, sources, strict=True)):
            part = canvas.add(x_one, y_one, source.parts, self._zero_points)
            light.add(index, CLASSES.index(source.kind), part, noise[0], exposures[0])
        images = canvas.images(light.total)
        light.snr /= _large_area_factor(self.bands[0].correlation)
        segmap, labels, numbers, areas = light.label(self.isophote * noise[0], self.min_snr, self.min_pixels)
        wcs = self._wcs()
        ccds = {
            band.name: self._expose(band, image, level, exposure, wcs, rng)
            for band, image, level, exposure in zip(self.bands, images, noise, exposures, strict=True)
        }
        reaches = light.reaches
        rows = [sources[i] for i in np.flatnonzero(reaches)]
        table = self._table(np.asarray(x)[reaches], np.asarray(y)[reaches], rows, wcs)
        table["snr"], table["n_pixels"] = light.snr[reaches], areas[reaches]
        table.add_column(numbers[reaches], name="label", index=0)
        return Scene(ccds, labels, SegmentationImage(segmap), table)

    # -- what is drawn ------------------------------------------------------------------------------------------------
    def _draw_sources(self, rng):
        height, width = (length + 2 * _MARGIN for length in self.shape)
        area = height * width * self.pixel_scale.value**2 * u.arcsec.to(u.arcmin) ** 2
        number = rng.poisson(self.density.value * area)
        x, y = (rng.uniform(-0.5, side - 0.5, number) - _MARGIN for side in (width, height))
        kinds = rng.choice(list(self.class_fractions), number, p=list(self.class_fractions.values()))
        slope = np.where(kinds == "point_source", _STAR_SLOPE, _SLOPE)
        bright, faint = (10 ** (slope * magnitude) for magnitude in self.magnitudes)
        magnitude = np.log10(rng.uniform(bright, faint)) / slope
        scale = self.pixel_scale.value.item()
        return (
            x,
            y,
            [
                draw_source(str(kind), m, self._wavelengths, scale, rng)
                for kind, m in zip(kinds, magnitude, strict=True)
            ],
        )

    def _draw_noise(self, rng):
        """Standard deviations of the sky in the bands, electron/s."""
        if self.noise is not None:
            return [self.noise[band.name] for band in self.bands]
        powers = rng.uniform(-_COMMON, _COMMON) + rng.uniform(-_OWN, _OWN, len(self.bands))
        return [self._usual_noise(band) * 2**power for band, power in zip(self.bands, powers, strict=True)]

    def _usual_noise(self, band):
        return band.noise * self.pixel_scale.value.item() / 0.06  # a sky-limited pixel's, by its side

    def _exposure(self, band, noise):
        return band.exposure * (self._usual_noise(band) / noise) ** 2

    # -- what is observed ---------------------------------------------------------------------------------------------
    def _expose(self, band, light, noise, exposure, wcs, rng):
        error = np.sqrt(noise**2 + np.maximum(light, 0) / exposure, dtype=np.float32)
        data = light + error * _correlated_noise(self.shape, band.correlation, rng)
        meta = {"FILTER": band.name, "MAGZERO": band.zero_point, "NOISE": float(noise), "EXPTIME": float(exposure)}
        return CCDData(data, unit=u.electron / u.s, wcs=wcs, uncertainty=StdDevUncertainty(error), meta=meta)

    def _wcs(self):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crpix = [(length + 1) / 2 for length in self.shape[::-1]]
        wcs.wcs.crval = _CENTRE
        step = self.pixel_scale.to_value(u.deg).item()
        wcs.wcs.cdelt = [-step, step]
        wcs.wcs.set()
        return wcs

    def _table(self, x, y, sources, wcs):
        def column(name, dtype=float):
            return np.array([getattr(source, name) for source in sources], dtype=dtype)

        magnitudes = np.array([source.magnitudes for source in sources]).reshape(-1, len(self.bands))
        columns = {
            "class": column("kind", "U12"),
            "coord": wcs.pixel_to_world(np.asarray(x, dtype=float), np.asarray(y, dtype=float)),
            "x_centroid": np.asarray(x, dtype=float),
            "y_centroid": np.asarray(y, dtype=float),
        }
        for band, magnitude in zip(self.bands, magnitudes.T, strict=True):
            columns[f"mag_{band.name}"] = magnitude * u.mag
        columns |= {
            "effective_radius": column("r_e") * self.pixel_scale,
            "sersic_index": column("n"),
            "axis_ratio": column("q"),
            "position_angle": ((np.rad2deg(column("angle")) - 90) % 180) * u.deg,
            "bulge_to_total": column("bulge_to_total"),
            "redshift": column("redshift"),
        }
        return SampleTable(columns)


class _Canvas:
    """The light of all sources in the bands, and of each in the first; it is wider than the image by the PSFs."""

    def __init__(self, shape, psfs, angles):
        self._shape, self._psfs, self._angles = shape, psfs, angles
        self._half = max(psf.n_pixels // 2 for psf in psfs)
        self._pad = self._half + _MARGIN
        size = [length + 2 * self._pad for length in shape]
        self._galaxies = np.zeros((len(psfs), *size), np.float32)
        self._stars = np.zeros((len(psfs), *size), np.float32)
        self._kernels = [psf.kernel(angle) for psf, angle in zip(psfs, angles, strict=True)]
        self._transfers = {}

    def add(self, x, y, parts, zero_points):
        """Add a source; returned is its light in the first band after the PSF, and where in the image that is."""
        if parts[0][0] is None:
            flux = 10 ** (0.4 * (zero_points - parts[0][1]))
            return self._add_star(x, y, flux)
        stamps = [(profile.render(x, y), 10 ** (0.4 * (zero_points - magnitudes))) for profile, magnitudes in parts]
        low = [min(stamp[axis] for stamp, _ in stamps) for axis in (1, 2)]
        high = [max(stamp[axis] + stamp.image.shape[axis - 1] for stamp, _ in stamps) for axis in (1, 2)]
        first = np.zeros((high[0] - low[0], high[1] - low[1]), np.float32)
        for stamp, flux in stamps:
            top, left = stamp.row - low[0], stamp.column - low[1]
            height, width = stamp.image.shape
            first[top : top + height, left : left + width] += np.float32(flux[0]) * stamp.image
            for canvas, counts in zip(self._galaxies[1:], flux[1:], strict=True):
                _paste(canvas, stamp.image, stamp.row + self._pad, stamp.column + self._pad, counts)
        half = len(self._kernels[0]) // 2
        return self._convolve(first, 0), low[0] - half, low[1] - half

    def _add_star(self, x, y, flux):
        column, row = round(x), round(y)
        images = [psf.star(x - column, y - row, angle) for psf, angle in zip(self._psfs, self._angles, strict=True)]
        for canvas, image, counts in zip(self._stars[1:], images[1:], flux[1:], strict=True):
            half = len(image) // 2
            _paste(canvas, image, row - half + self._pad, column - half + self._pad, counts)
        half = len(images[0]) // 2
        return np.float32(flux[0]) * images[0], row - half, column - half

    def images(self, first):
        """The image in each band; that in the first is the sum of the sources, which is at hand."""
        inner = tuple(slice(self._pad, self._pad + length) for length in self._shape)
        result = [first]
        for index in range(1, len(self._psfs)):
            half = len(self._kernels[index]) // 2
            galaxies = self._convolve(self._galaxies[index], index)[half : -half or None, half : -half or None]
            result.append((galaxies + self._stars[index])[inner])
        return result

    def _convolve(self, image, index):
        """Convolve with the PSF of a band; the result is larger than the image by the PSF."""
        kernel = self._kernels[index]
        wanted = [length + len(kernel) - 1 for length in image.shape]
        # few different sizes, so that transforms of the PSF are used again
        size = tuple(fft.next_fast_len(32 * math.ceil(length / 32), real=True) for length in wanted)
        if (index, size) not in self._transfers:
            self._transfers[index, size] = fft.rfft2(kernel, size)
        product = fft.rfft2(image, size) * self._transfers[index, size]
        return fft.irfft2(product, size)[: wanted[0], : wanted[1]]


class _DetectedLight:
    """Whose light is where in the band of detection."""

    def __init__(self, shape, n_sources):
        self.total = np.zeros(shape, np.float32)
        self.snr = np.zeros(n_sources)
        self.reaches = np.zeros(n_sources, bool)
        self._brightest = np.zeros(shape, np.float32)
        self._owner = np.full(shape, -1)
        self._parts = [None] * n_sources
        self._kinds = np.zeros(n_sources, int)

    def add(self, index, kind, part, noise, exposure):
        """Add a source; ``noise`` and ``exposure`` are those of the band."""
        image, row, column = part
        here, there = _overlap(self.total.shape, image.shape, row, column)
        light = image[there]
        self._kinds[index] = kind
        if light.size == 0:
            return
        # the S/N is that of the source alone and whole, also where a part of it is outside
        bright = np.maximum(image, 0)
        self.snr[index] = np.sqrt((bright**2 / (noise**2 + bright / exposure)).sum(dtype=float))
        # light of a thousandth of the noise is no light that the table should list
        self.reaches[index] = light.max() > 1e-3 * noise
        self.total[here] += light
        self._parts[index] = (here, light)
        brighter = light > self._brightest[here]
        self._owner[here][brighter] = index
        self._brightest[here][brighter] = light[brighter]

    def label(self, isophote, min_snr, min_pixels):
        """Segments, soft labels, and the label and area of each source."""
        islands, _ = ndimage.label(self.total > isophote, np.ones((3, 3)))
        large = np.bincount(islands.ravel()) >= min_pixels
        large[0] = False
        owner = np.where(large[islands], self._owner, -1)
        areas = np.bincount(owner[owner >= 0], minlength=len(self.snr))
        labelled = (self.snr >= min_snr) & (areas >= min_pixels)
        numbers = np.where(labelled, np.cumsum(labelled), 0)
        segmap = np.append(numbers, 0)[owner].astype(np.int32)
        shares = np.zeros((len(PIXEL_CLASSES), *self.total.shape), np.float32)
        for index in np.flatnonzero(labelled):
            here, light = self._parts[index]
            shares[self._kinds[index]][here] += np.maximum(light, 0)
        background = segmap == 0
        shares[:, background] = 0
        shares[-1, background] = 1
        shares /= shares.sum(axis=0)
        return segmap, shares, numbers, np.where(labelled, areas, 0)


def _overlap(shape, part_shape, row, column):
    """Slices of an image, and of a part of it at (row, column), where they overlap."""
    here, there = [], []
    for length, part_length, start in zip(shape, part_shape, (row, column), strict=True):
        low, high = max(start, 0), max(min(start + part_length, length), max(start, 0))
        here.append(slice(low, high))
        there.append(slice(low - start, high - start))
    return tuple(here), tuple(there)


def _paste(canvas, image, row, column, factor):
    here, there = _overlap(canvas.shape, image.shape, row, column)
    canvas[here] += np.float32(factor) * image[there]


def _weights(correlation):
    """
    Side weight a of the kernel (a, 1, a), with which white noise gets a correlation of its neighbours.

    That is 2 a / (1 + 2 a^2).
    """
    if correlation == 0:
        return 0.0
    return (1 - np.sqrt(1 - 2 * correlation**2)) / (2 * correlation)


def _large_area_factor(correlation):
    """Standard deviation of sums over large areas, in units of that of independent pixels."""
    side = _weights(correlation)
    return (1 + 2 * side) ** 2 / (1 + 2 * side**2)  # in two dimensions: the square of that in one


def _correlated_noise(shape, correlation, rng):
    """Noise of unit standard deviation whose neighbouring pixels are correlated."""
    side = np.float32(_weights(correlation))
    white = rng.standard_normal((shape[0] + 2, shape[1] + 2), dtype=np.float32)
    rows = white[1:-1] + side * (white[:-2] + white[2:])
    return (rows[:, 1:-1] + side * (rows[:, :-2] + rows[:, 2:])) / (1 + 2 * side**2)


def _read_mapping(value, name):
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} of the type {type(value).__name__} is not a dict by band or class")
    return dict(value)


def _read_fractions(fractions):
    fractions = _read_mapping(fractions, "class_fractions")
    unknown = set(fractions) - set(CLASSES)
    if unknown:
        raise ValueError(f"class_fractions has {sorted(unknown)}: classes are {', '.join(CLASSES)}")
    values = np.array([float(fractions.get(name, 0)) for name in CLASSES])
    if not np.isfinite(values).all() or values.min() < 0 or values.sum() <= 0:
        raise ValueError(f"class_fractions={fractions} must not be negative, and not all be zero")
    return dict(zip(CLASSES, (values / values.sum()).tolist(), strict=True))


def _read_noise(noise, names):
    noise = _read_mapping(noise, "noise")
    if set(noise) != set(names):
        raise ValueError(f"noise is given for {sorted(noise)}; the bands are {names}")
    values = {name: as_quantity(noise[name], u.electron / u.s, f"noise of {name}").value.item() for name in names}
    for name, value in values.items():
        if value <= 0:
            raise ValueError(f"the noise of {name}, {value}, is not positive")
    return values
