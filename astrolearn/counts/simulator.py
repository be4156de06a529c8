"""
Simulated radio images: random skies seen through a beam, or through an interferometer and CLEAN.

Sources fall between the pixels, and an error of a thousandth of a bright one is seen above the noise. So faint sources
are spread over 4 x 4 pixels with cubic B-splines, whose blur is divided out again in Fourier space where the beam is
applied (as in particle-mesh codes), and bright ones are added as exact Gaussians. The restored image does without
visibilities: a CLEAN that works leaves what is above its threshold with the clean beam, the rest with the dirty one.
"""

import astropy.units as u
import numpy as np
from astropy.nddata import NDData
from astropy.wcs import WCS
from scipy import fft

from astrolearn.core.seeding import make_rng
from astrolearn.counts.catalogues import (
    check_population,
    clustered_density,
    density_of_pixels,
    draw_fluxes,
    draw_positions,
    draw_shapes,
    equal_sources,
    read_catalogue,
    read_flux_range,
)
from astrolearn.counts.families import IndependentBins
from astrolearn.counts.instruments import read_instrument
from astrolearn.counts.models import CountModel, ReferenceCounts

__all__ = ["RadioSkySimulator", "squares"]

_AT_ONCE = 1_000_000  # sources: bounds memory
_BRIGHT = 10  # standard deviations of the image above which a source is added as an exact Gaussian
_FAINT = 0.2  # standard deviations of the image below which sources are replaced by fewer of one flux
_IMAGES = ("model", "gaussian", "restored")


class RadioSkySimulator:
    """
    Simulates images of the radio sky.

    Parameters
    ----------
    instrument : `Instrument` or str, optional
        An instrument or the name of a preset: ``"emu"`` (default) or ``"regis2022"``.
    counts : `CountModel` or family, optional
        What the counts of the skies are: one model for all, or a family from which each sky draws its own. Default:
        `IndependentBins` around `ReferenceCounts` at the frequency of the instrument, the prior with which bins that
        are not measured do not look measured.
    n_pixels : int, optional
        Side of the images. Default: 2560.
    image : {"gaussian", "model", "restored"}, optional
        ``"gaussian"`` (default): the sky under the Gaussian beam, with noise; its mean is that of the sky, which a
        single dish would measure and an interferometer does not. ``"model"``: the sky itself, each source in the pixel
        that it falls in, without noise, as a brightness in Jy/beam. ``"restored"``: what is above the CLEAN threshold
        (per pixel of the sky) under the Gaussian beam, the rest and the noise under the instrument's ``psf``. The
        mean of the latter is zero, so that of the image is the cleaned flux.
    clustering : float or None, optional
        Angular correlation at 1 deg; see `draw_catalogue`. Default: 1e-3.
    morphology : {"mixed", "points"}, optional
        See `draw_catalogue`. Default: ``"mixed"``.
    flux_range : pair of `~astropy.units.Quantity` or float, optional
        Sources outside do not exist; plain numbers are in Jy. Default: 10**-7.5 to 1 Jy.

    Raises
    ------
    ValueError
        If an option is unknown, the counts are those at another frequency, or a restored image lacks its PSF.

    Notes
    -----
    Noise has the beam (or the PSF) as its autocorrelation, as the thermal noise of naturally weighted visibilities, and
    exactly the standard deviation of the instrument. The sky is flat: pixels of the tangential projection are taken to
    have one solid angle, which at the corners of 5 deg is wrong by 0.6 %. Fields are simulated with a margin, so that
    sources outside reach in and no border meets the opposite one. In images of a beam, sources fainter than a fifth of
    the standard deviation (noise and confusion) are replaced by a sheet and fewer sources of one flux that give the
    same mean, variance and skewness. Places between the pixels are exact for sources brighter than ten standard
    deviations; for fainter ones the worst pixel errs by 0.6 % of the peak with the pixels of ``"emu"`` and by 2 % with
    those of ``"regis2022"``. Clustered sources are spread evenly within cells of 3 x 3 pixels.

    Examples
    --------
    >>> from astrolearn.counts import RadioSkySimulator
    >>> image = RadioSkySimulator(n_pixels=128).sample(1, random_state=0)[0]
    >>> image.data.shape, image.unit, image.meta["image"]
    ((128, 128), Unit("Jy / beam"), 'gaussian')
    """

    def __init__(
        self,
        *,
        instrument="emu",
        counts=None,
        n_pixels=2560,
        image="gaussian",
        clustering=1e-3,
        morphology="mixed",
        flux_range=(10**-7.5, 1.0),
    ):
        self.instrument = read_instrument(instrument)
        frequency = self.instrument.frequency
        self.counts = IndependentBins(ReferenceCounts(frequency=frequency)) if counts is None else counts
        own = getattr(getattr(self.counts, "reference", self.counts), "frequency", frequency)
        if abs(own / frequency - 1) > 0.01:
            raise ValueError(f"the counts are those at {own}, the instrument's frequency is {frequency}")
        if not (isinstance(self.counts, CountModel) or hasattr(self.counts, "sample")):
            raise ValueError(f"counts={counts!r} is neither a CountModel nor a family of them")
        if image not in _IMAGES:
            raise ValueError(f"image={image!r} is none of {', '.join(map(repr, _IMAGES))}")
        if n_pixels < 1:
            raise ValueError(f"n_pixels={n_pixels} must be positive")
        check_population(clustering, morphology)
        self.flux_range = read_flux_range(flux_range)
        self.n_pixels, self.image, self.clustering, self.morphology = n_pixels, image, clustering, morphology
        self._plan()

    def _plan(self):
        """What all images share: the padded field and its filters in Fourier space."""
        tool = self.instrument
        self._size, self._margin = self.n_pixels, 0
        if self.image == "model":
            return
        self._reach = int(np.ceil(5.3 * np.sqrt(np.linalg.eigvalsh(tool.beam_covariance()).max())))  # beam of 1e-6
        margin = self._reach + 2
        if self.image == "restored" and tool.psf is not None:
            margin = max(margin, len(tool.psf) // 2 + 2)
        self._size = 2 * fft.next_fast_len(self.n_pixels // 2 + margin + 1, real=True)
        self._margin = (self._size - self.n_pixels) // 2
        shape = (self._size, self._size)
        restored = self.image == "restored"
        transfer = tool.psf_transfer(shape) if restored else tool.beam_transfer(shape)
        # the spectrum of noise whose autocorrelation is the beam is the transform of the beam; cut-out PSFs dip below 0
        spectrum = np.maximum(transfer, 0)
        mean = (2 * spectrum.sum(dtype=float) - spectrum[:, [0, -1]].sum(dtype=float)) / self._size**2
        self._noise_filter = np.sqrt(spectrum / np.float32(mean)) * np.float32(tool.noise.value)
        spline = [np.sinc(frequency(self._size)) ** 4 for frequency in (fft.fftfreq, fft.rfftfreq)]
        self._transfer = transfer / (spline[0][:, None] * spline[1]).astype(np.float32)

    def sample(self, n, random_state=None):
        """
        Simulate images.

        Parameters
        ----------
        n : int
            How many.
        random_state : int, Generator or None, optional

        Returns
        -------
        images : list of `~astropy.nddata.NDData`
            In Jy/beam, float32 (n_pixels, n_pixels), with a WCS (TAN, around RA 0 deg, Dec -30 deg). ``meta`` has BMAJ,
            BMIN, BPA (deg), FREQ (Hz), NOISE (Jy/beam), ``image`` (the kind) and ``counts``, the true `CountModel`.
        """
        return list(self.stream(n, random_state))

    def stream(self, n, random_state=None):
        """
        Simulate images one by one, in bounded memory.

        Parameters
        ----------
        n, random_state
            As for `sample`, which gives the same images.

        Yields
        ------
        image : `~astropy.nddata.NDData`
        """
        rng = make_rng(random_state)
        models = [self.counts] * n
        if not isinstance(self.counts, CountModel):
            models = [CountModel.from_logs(self.counts.log_flux, row) for row in self.counts.sample(n, rng)]
        for model, seed in zip(models, rng.integers(2**63, size=n), strict=True):
            yield self.observe(model, int(seed))

    def cutouts(self, n, *, size=128, random_state=None):
        """
        Simulate images and cut them into squares.

        The data set of Regis et al. (2022) is ``RadioSkySimulator(instrument="regis2022", counts=TalkFamily(),
        image="model").cutouts(21)``: 8400 squares from 21 images.

        Parameters
        ----------
        n : int
            Number of images.
        size : int, optional
            Side of the squares, at most that of the images; what is left over at the borders is dropped. Default: 128.
        random_state : int, Generator or None, optional

        Returns
        -------
        cutouts : `~astropy.units.Quantity`, float32 (n * n_per_image, size, size)
            In Jy/beam.
        counts : `~astropy.units.Quantity`, (n * n_per_image, n_nodes)
            True counts at the nodes of the family (or model), 1/(Jy sr).
        groups : `numpy.ndarray` of int, (n * n_per_image,)
            The number of the image. Split by it: cutouts of one image share their counts.

        Raises
        ------
        ValueError
            If the squares are larger than the images.
        """
        per_image = (self.n_pixels // size) ** 2
        if per_image < 1:
            raise ValueError(f"size={size} is larger than the images of {self.n_pixels} pixels")
        pixels = np.empty((n, per_image, size, size), np.float32)
        log_n = np.empty((n, len(self.counts.log_flux)))
        for index, image in enumerate(self.stream(n, random_state)):
            pixels[index] = squares(image.data, size)
            log_n[index] = image.meta["counts"].log_n
        groups = np.repeat(np.arange(n), per_image)
        density = u.Quantity(10**log_n, 1 / (u.Jy * u.sr))
        return pixels.reshape(-1, size, size) << (u.Jy / u.beam), density[groups], groups

    def observe(self, counts, random_state=None):
        """
        Simulate one image with given counts.

        Parameters
        ----------
        counts : `CountModel`
            Differential counts at the frequency of the instrument.
        random_state : int, Generator or None, optional

        Returns
        -------
        image : `~astropy.nddata.NDData`
            As from `sample`.
        """
        rng = make_rng(random_state)
        density = None
        if self.clustering is not None:
            pixel = self.instrument.pixel_scale.value
            density = clustered_density(self._size, pixel, self.clustering, rng)
        return self._finish(self._draw_image(counts, density, rng), counts)

    def render(self, catalogue, random_state=None):
        """
        Simulate the image of a catalogue of yours.

        Parameters
        ----------
        catalogue : `~astropy.table.Table`
            ``x``, ``y`` (pixels, 0-based; sources around the image count as well), ``S`` (Jy) and optionally the other
            columns of `draw_catalogue`.
        random_state : int, Generator or None, optional
            Of the noise.

        Returns
        -------
        image : `~astropy.nddata.NDData`
            As from `sample`, without ``counts``.

        Raises
        ------
        ValueError
            If a column is missing.
        """
        sources = read_catalogue(catalogue, self.instrument.pixel_scale.value)
        x, y, flux = sources.points()
        x, y = x + self._margin, y + self._margin
        inside = (np.minimum(x, y) >= -0.5) & (np.maximum(x, y) < self._size - 0.5)
        x, y, flux = x[inside], y[inside], flux[inside]
        scatter = self._scatter(lambda cut: (flux[flux < cut] ** 2).sum() / self._size**2)
        return self._finish(self._image(x, y, flux, 0, scatter, make_rng(random_state)), None)

    def _draw_image(self, counts, density, rng):
        low, high = self.flux_range
        pixel_area = self.instrument.pixel_area.value
        if self.image == "model":
            return self._draw_model(pixel_area * counts.moment(0, low, high), counts, density, rng)
        scatter = self._scatter(lambda cut: pixel_area * counts.moment(2, low, np.clip(cut, 2 * low, high)))
        split = np.clip(_FAINT * scatter, low, high)
        parts, sheet = [], 0
        if split > low:
            number, flux, level = equal_sources(counts, low, split)
            x, y = draw_positions(pixel_area * number, self._size, density, rng)
            parts.append((x, y, np.full(len(x), flux)))
            sheet = pixel_area * level
            if density is not None:
                sheet = np.float32(sheet) * density_of_pixels(density, self._size)
        if split < high:
            parts.append(self._draw_points(pixel_area * counts.moment(0, split, high), counts, split, density, rng))
        return self._image(*(np.concatenate(column) for column in zip(*parts, strict=True)), sheet, scatter, rng)

    def _scatter(self, second_moment):
        """
        Standard deviation of an image by noise and confusion, in Jy/beam.

        Confusion is that of sources below five times the result (Condon 1974, ApJ 188, 279); ``second_moment`` gives
        the sum of S^2 per pixel of the sources below a flux density.
        """
        scatter, noise = np.inf, self.instrument.noise.value
        for _ in range(30):
            cut = 5 * min(scatter, 1e3)
            scatter = np.hypot(noise, np.sqrt(self.instrument.pixels_per_beam / 2 * second_moment(cut)))
        return scatter

    def _draw_model(self, mean, counts, density, rng):
        """The sky itself, in Jy per pixel; all sources are drawn, about a million at a time."""
        sky = np.zeros(self._size**2)
        times = int(np.ceil(mean * self._size**2 / _AT_ONCE))
        for _ in range(times):
            points = self._draw_points(mean / times, counts, self.flux_range[0], density, rng)
            sky += self._pixel_sums(*points)[0]
        return sky.reshape(self._size, self._size)

    def _draw_points(self, mean, counts, low, density, rng):
        """Points that stand for random sources above a flux density, of which ``mean`` are expected in a pixel."""
        x, y = draw_positions(mean, self._size, density, rng)
        flux = draw_fluxes(counts, len(x), low, self.flux_range[1], rng)
        if self.morphology == "points":
            return x, y, flux
        tool = self.instrument
        return draw_shapes(x, y, flux, tool.pixel_scale.value, tool.frequency.value, rng).points()

    def _image(self, x, y, flux, sheet, scatter, rng):
        """The padded image of points and a sheet of light (Jy per pixel), in Jy/beam (the model: Jy per pixel)."""
        if self.image == "model":
            return self._pixel_sums(x, y, flux)[0].reshape(self._size, self._size)
        if self.image == "restored":
            total, pixel = self._pixel_sums(x, y, flux)
            threshold = self.instrument.clean_threshold.value
            cleaned = flux * np.maximum(1 - threshold / np.maximum(total, 1e-300), 0)[pixel]
            smooth, exact = flux - cleaned, cleaned > 0
        else:
            cleaned, exact = flux, flux > _BRIGHT * scatter
            smooth = np.where(exact, 0, flux)
        sky = _spread(x, y, smooth, self._size)
        sky += sheet
        spectrum = fft.rfft2(sky, workers=2) * self._transfer
        if self.instrument.noise > 0:
            white = rng.standard_normal(sky.shape, dtype=np.float32)
            spectrum += fft.rfft2(white, workers=2) * self._noise_filter
        image = fft.irfft2(spectrum, s=sky.shape, workers=2)
        _add_beams(image, x[exact], y[exact], cleaned[exact], self.instrument.beam_covariance(), self._reach)
        return image

    def _pixel_sums(self, x, y, flux):
        """Flux of each pixel of the flattened field, and the pixel of each point."""
        column, row = (np.rint(position).astype(np.intp) % self._size for position in (x, y))
        pixel = row * self._size + column
        return np.bincount(pixel, flux, minlength=self._size**2), pixel

    def _finish(self, image, counts):
        inner = slice(self._margin, self._margin + self.n_pixels)
        tool = self.instrument
        scale = tool.pixels_per_beam if self.image == "model" else 1
        data = np.ascontiguousarray(image[inner, inner] * scale, dtype=np.float32)
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crpix = [(self.n_pixels + 1) / 2] * 2
        wcs.wcs.crval = [0, -30]
        step = tool.pixel_scale.to_value(u.deg)
        wcs.wcs.cdelt = [-step, step]
        wcs.wcs.set()
        meta = {
            "BMAJ": tool.beam_major.to_value(u.deg),
            "BMIN": tool.beam_minor.to_value(u.deg),
            "BPA": tool.beam_pa.to_value(u.deg),
            "FREQ": tool.frequency.to_value(u.Hz),
            "NOISE": tool.noise.value if self.image != "model" else 0.0,
            "image": self.image,
        }
        if counts is not None:
            meta["counts"] = counts
        return NDData(data, unit=u.Jy / u.beam, wcs=wcs, meta=meta)


def squares(image, size):
    """
    Cut an image into squares; what is left over at the upper and right borders is dropped.

    Parameters
    ----------
    image : `numpy.ndarray`, (height, width)
    size : int
        Pixels.

    Returns
    -------
    squares : `numpy.ndarray`, (n, size, size)
    """
    down, across = (length // size for length in image.shape)
    parts = image[: down * size, : across * size].reshape(down, size, across, size)
    return parts.swapaxes(1, 2).reshape(-1, size, size)


def _spread(x, y, flux, size):
    """Flux of points on a periodic grid (size, size), spread over 4 x 4 pixels by cubic B-splines."""
    grid = np.zeros(size**2, np.float32)
    for start in range(0, len(flux), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        columns, along_x = _spline(x[part], size)
        rows, along_y = _spline(y[part], size)
        for row, share in zip(rows * size, along_y * flux[part], strict=True):
            np.add.at(grid, (row + columns).ravel(), (share * along_x).astype(np.float32).ravel())
    return grid.reshape(size, size)


def _spline(position, size):
    """The four pixels about each position, and their shares of its flux, (4, n) each."""
    first = np.floor(position)
    d = position - first
    e = 1 - d
    d2, e2 = d * d, e * e
    weights = np.stack([e2 * e, 4 - 3 * d2 * (2 - d), 4 - 3 * e2 * (2 - e), d2 * d]) / 6
    return (first.astype(np.intp) + np.arange(-1, 3)[:, None]) % size, weights


def _add_beams(image, x, y, peak, covariance, reach):
    """Add Gaussians at points between the pixels, in place, on a periodic image."""
    size = len(image)
    inverse = np.linalg.inv(covariance)
    offset = np.arange(-reach, reach + 1)
    for start in range(0, len(peak), 4096):
        part = slice(start, start + 4096)
        column, row = (np.rint(position[part]).astype(np.intp)[:, None] + offset for position in (x, y))
        dx, dy = (column - x[part, None])[:, None, :], (row - y[part, None])[:, :, None]
        chi2 = inverse[0, 0] * dx**2 + inverse[1, 1] * dy**2 + 2 * inverse[0, 1] * dx * dy
        light = peak[part, None, None] * np.exp(-chi2 / 2)
        pixels = (row % size * size)[:, :, None] + (column % size)[:, None, :]
        np.add.at(image.reshape(-1), pixels.ravel(), light.astype(np.float32).ravel())
