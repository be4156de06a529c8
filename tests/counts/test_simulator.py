"""Simulated images: light and places of sources, noise, what stands in for faint sources, and CLEAN."""

import pickle
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable
from scipy import fft, stats
from scipy.integrate import quad
from scipy.signal import fftconvolve

from astrolearn.counts import (
    IndependentBins,
    Instrument,
    RadioSkySimulator,
    ReferenceCounts,
    TalkFamily,
    draw_catalogue,
)

COUNTS = ReferenceCounts(frequency="944 MHz")
EMU = Instrument.preset("emu")
QUIET = replace(EMU, noise=0)


def simulator(**options):
    defaults = {"instrument": EMU, "counts": COUNTS, "n_pixels": 256, "clustering": None, "morphology": "points"}
    return RadioSkySimulator(**{**defaults, **options})


def catalogue(x, y, flux):
    return QTable({"x": np.atleast_1d(x).astype(float), "y": np.atleast_1d(y).astype(float),
                   "S": np.atleast_1d(flux) * u.Jy})


def gaussians(x, y, flux, tool, size):
    """The sum of the beams of all sources, directly."""
    row, column = np.mgrid[:size, :size]
    angle = tool.beam_pa.to_value(u.rad)
    fwhm = [(width / tool.pixel_scale).to_value(u.one) for width in (tool.beam_major, tool.beam_minor)]
    image = np.zeros((size, size))
    for x_one, y_one, flux_one in zip(x, y, flux, strict=True):
        dx, dy = column - x_one, row - y_one
        along, across = -dx * np.sin(angle) + dy * np.cos(angle), dx * np.cos(angle) + dy * np.sin(angle)
        image += flux_one * np.exp(-4 * np.log(2) * ((along / fwhm[0]) ** 2 + (across / fwhm[1]) ** 2))
    return image


def test_image():
    image = simulator().sample(1, random_state=0)[0]
    assert image.data.shape == (256, 256)
    assert image.data.dtype == np.float32
    assert image.unit == u.Jy / u.beam
    assert image.meta["BMAJ"] == image.meta["BMIN"] == pytest.approx(15 / 3600)
    assert (image.meta["BPA"], image.meta["FREQ"], image.meta["NOISE"]) == (0, pytest.approx(944e6), 25e-6)
    assert image.meta["counts"] is COUNTS
    corners = image.wcs.pixel_to_world([0, 255, 127.5], [0, 0, 127.5])
    assert corners[2].separation(corners[2].__class__(0 * u.deg, -30 * u.deg)) < 1e-6 * u.deg
    assert corners[0].separation(corners[1]).to_value(u.arcsec) == pytest.approx(255 * 5, rel=1e-4)
    assert corners[0].ra.wrap_at("180d") > corners[1].ra.wrap_at("180d")  # east is to the left


def test_seeds():
    family = IndependentBins(COUNTS)
    sky = simulator(counts=family, n_pixels=64, clustering=1e-3, morphology="mixed")
    one, two = sky.sample(2, random_state=3)
    again = list(pickle.loads(pickle.dumps(sky)).stream(2, random_state=3))
    for image, same in zip((one, two), again, strict=True):
        np.testing.assert_array_equal(image.data, same.data)
        np.testing.assert_array_equal(image.meta["counts"].log_n, same.meta["counts"].log_n)
    assert np.abs(one.data - two.data).max() > 1e-5
    assert (one.meta["counts"].log_n != two.meta["counts"].log_n).all()
    np.testing.assert_array_equal(sky.sample(0, random_state=3), [])


@pytest.mark.parametrize("beam", [{}, {"beam_major": 20, "beam_minor": 13, "beam_pa": 35}])
def test_bright_sources_are_exact(beam):
    tool = replace(QUIET, **beam)
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-5, 69, (2, 5))  # some outside the image
    flux = 10 ** rng.uniform(-3, 0, 5)
    image = simulator(instrument=tool, n_pixels=64).render(catalogue(x, y, flux)).data
    np.testing.assert_allclose(image, gaussians(x, y, flux, tool, 64), atol=1e-5)


@pytest.mark.parametrize(("pixel", "error"), [(3, 0.001), (5, 0.008), (7.03125, 0.03)])
def test_crowded_sources_between_the_pixels(pixel, error):
    # all of one flux, thousands of them: none stands out, so that all go through the splines
    tool = replace(QUIET, pixel_scale=pixel)
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-12, 76, (2, 800))
    image = simulator(instrument=tool, n_pixels=64).render(catalogue(x, y, np.full(800, 1e-5))).data
    expected = gaussians(x, y, np.full(800, 1e-5), tool, 64)
    assert np.abs(image - expected).max() < 2.5 * error * 1e-5
    assert np.abs(image - expected).mean() > 1e-12  # and not through the exact Gaussians


def test_flux_is_conserved():
    image = simulator(instrument=QUIET, n_pixels=64).render(catalogue(30.3, 31.8, 0.01)).data
    assert image.sum(dtype=float) / QUIET.pixels_per_beam == pytest.approx(0.01, rel=1e-4)


def test_noise():
    for tool in (EMU, replace(EMU, pixel_scale=7, beam_minor=14.5, noise=1e-4)):
        empty = catalogue([], [], [])
        image = simulator(instrument=tool, n_pixels=1024).render(empty, random_state=2).data
        n_independent = 2 * image.size / tool.pixels_per_beam
        assert image.std() == pytest.approx(tool.noise.value, rel=4 / np.sqrt(2 * n_independent))
        assert abs(image.mean()) < 4 * tool.noise.value * np.sqrt(tool.pixels_per_beam / image.size)
        # neighbours are as correlated as the beam is wide
        for lag in (1, 2, 3):
            width = (tool.beam_minor / tool.pixel_scale).to_value(u.one)
            found = (image[:, lag:] * image[:, :-lag]).mean() / tool.noise.value**2
            assert found == pytest.approx(np.exp(-4 * np.log(2) * (lag / width) ** 2), abs=0.02)
    assert simulator(instrument=QUIET).render(empty).data.max() == 0


def test_borders_do_not_meet():
    noise = simulator(n_pixels=64)
    images = np.stack([noise.render(catalogue([], [], []), random_state=seed).data for seed in range(100)])
    opposite = (images[:, 0] * images[:, -1]).mean() / EMU.noise.value**2
    assert abs(opposite) < 0.12  # across a border it would be 0.73
    image = simulator(instrument=QUIET, n_pixels=64).render(catalogue(0, 30, 1)).data
    assert image[30, 0] == pytest.approx(1)
    assert image[:, 32:].max() < 1e-6


def test_mean_and_variance_are_those_of_the_counts():
    low, high = 10**-7.5, 3e-5
    sky = simulator(instrument=QUIET, n_pixels=1024, flux_range=(low, high))
    image = sky.sample(1, random_state=4)[0].data.astype(float)
    # Campbell's theorem: the integrals of the beam and of its square are its area and half of it
    area = QUIET.beam_area.value
    assert image.mean() == pytest.approx(area * COUNTS.moment(1, low, high), rel=0.01)
    assert image.var() == pytest.approx(area / 2 * COUNTS.moment(2, low, high), rel=0.03)
    third = ((image - image.mean()) ** 3).mean()
    assert third == pytest.approx(area / 3 * COUNTS.moment(3, low, high), rel=0.06)


@pytest.mark.parametrize("noise", [0, 10e-6])
def test_stand_ins_look_like_the_faint_sources(noise, monkeypatch):
    options = {"instrument": replace(EMU, noise=noise), "n_pixels": 512, "flux_range": (10**-7, 5e-5)}
    images = [simulator(**options).sample(1, random_state=5)[0].data]
    monkeypatch.setattr("astrolearn.counts.simulator._FAINT", 1e-9)  # none are replaced
    images.append(simulator(**options).sample(1, random_state=6)[0].data)
    quantiles = np.quantile(np.stack(images), [0.002, 0.02, 0.16, 0.5, 0.84, 0.98], axis=(1, 2)) * 1e6
    spread = quantiles[4, 0] - quantiles[2, 0]
    np.testing.assert_allclose(quantiles[:, 0], quantiles[:, 1], rtol=0.02, atol=0.01 * spread)
    # every few pixels are independent
    assert stats.ks_2samp(*(image[::5, ::5].ravel() for image in images)).pvalue > 1e-3


def test_clustering_and_shapes_keep_the_mean():
    low, high = 1e-6, 1e-3
    sky = simulator(instrument=QUIET, n_pixels=512, clustering=1e-3, morphology="mixed", flux_range=(low, high))
    mean = np.mean([image.data.mean(dtype=float) for image in sky.stream(6, random_state=7)])
    assert mean == pytest.approx(QUIET.beam_area.value * COUNTS.moment(1, low, high), rel=0.06)


def test_shapes_blur():
    table = draw_catalogue(COUNTS, n_pixels=256, pixel_scale=5, frequency=0.944, clustering=None,
                           flux_range=(1e-2, 1), random_state=8)[:1]
    table["kind"], table["size"], table["ratio"], table["pa"] = "disc", 1.678 * u.arcsec, 1.0, 0 * u.deg
    table["x"], table["y"], table["S"] = 20.0, 20.0, 1 * u.Jy
    peak = simulator(instrument=QUIET, n_pixels=41).render(table).data.max()
    # an exponential disc of scale length 1 arcsec under the middle of a Gaussian beam
    expected = quad(lambda r: r * np.exp(-r - 4 * np.log(2) * (r / 15) ** 2), 0, 50)[0]
    assert expected < 0.94
    assert peak == pytest.approx(expected, abs=0.01)


def test_model():
    sky = simulator(image="model", n_pixels=512, morphology="mixed", clustering=1e-3, flux_range=(1e-6, 1e-3))
    image = sky.sample(1, random_state=9)[0]
    assert image.meta["NOISE"] == 0
    assert (image.data >= 0).all()
    assert np.median(image.data) == 0
    brightness = EMU.convert(image.data.mean(dtype=float) * image.unit, "Jy/sr")
    assert brightness.value == pytest.approx(COUNTS.moment(1, 1e-6, 1e-3), rel=0.1)
    one = sky.render(catalogue(100.4, 200.6, 0.5)).data
    assert one[201, 100] / EMU.pixels_per_beam == pytest.approx(0.5)
    assert np.count_nonzero(one) == 1


def test_cutouts():
    family = TalkFamily(ReferenceCounts(frequency=0.944))
    sky = simulator(instrument="regis2022", counts=family, n_pixels=150, image="model")
    cutouts, counts, groups = sky.cutouts(3, size=64, random_state=10)
    assert cutouts.shape == (12, 64, 64)
    assert cutouts.unit == u.Jy / u.beam
    assert cutouts.value.dtype == np.float32
    np.testing.assert_array_equal(groups, np.repeat([0, 1, 2], 4))
    images = sky.sample(3, random_state=10)
    np.testing.assert_array_equal(cutouts[5].value, images[1].data[:64, 64:128])
    np.testing.assert_array_equal(cutouts[10].value, images[2].data[64:128, :64])
    np.testing.assert_allclose(counts[5].value, images[1].meta["counts"](10**family.log_flux).value)
    with pytest.raises(ValueError, match="larger than the images"):
        sky.cutouts(1, size=200)


def tracks_psf(size=129):
    """Dirty beam of a toy array: tracks of baselines, of one weight but for a taper to three pixels."""
    rng = np.random.default_rng(11)
    hours = np.linspace(-0.8, 0.8, 200)
    length, angle = 0.32 * np.sqrt(rng.uniform(0, 1, 600)), rng.uniform(0, 2 * np.pi, 600)
    n = 4 * size
    spectrum = np.zeros((n, n))
    for sign in (-1, 1):
        row, column = (np.rint(sign * n * length[:, None] * f(angle[:, None] + hours)).astype(int) % n
                       for f in (np.sin, np.cos))
        spectrum[row, column] = 1
    f = fft.fftfreq(n)
    spectrum *= np.exp(-((f[:, None] ** 2 + f**2) * 29))
    spectrum[0, 0] = 0
    psf = fft.fftshift(fft.ifft2(spectrum).real)
    middle = slice(n // 2 - size // 2, n // 2 + size // 2 + 1)
    return (psf / psf.max())[middle, middle]


def hogbom(dirty, psf, threshold, gain=0.1):
    """CLEAN of Hogbom (1974): components and residual."""
    residual, components, half = dirty.copy(), np.zeros_like(dirty), len(psf) // 2
    size = len(dirty)
    for _ in range(50000):
        row, column = np.unravel_index(np.abs(residual).argmax(), dirty.shape)
        peak = residual[row, column]
        if abs(peak) < threshold:
            return components, residual
        components[row, column] += gain * peak
        top, bottom, left, right = max(row - half, 0), min(row + half + 1, size), max(column - half, 0), 0
        right = min(column + half + 1, size)
        window = psf[top - row + half : bottom - row + half, left - column + half : right - column + half]
        residual[top:bottom, left:right] -= gain * peak * window
    raise AssertionError("CLEAN did not converge")


@pytest.mark.parametrize("between_pixels", [False, True])
@pytest.mark.parametrize("source", ["tracks", "askap"])
def test_restored_image_is_what_clean_gives(source, between_pixels, request):
    if source == "tracks":
        psf = tracks_psf()
    else:
        psf = np.load(request.getfixturevalue("shared_data") / "counts" / "askap_psf_5arcsec_257.npy")
    rng = np.random.default_rng(12)
    flux_low, area = 3e-6, (256 * 5 * u.arcsec) ** 2
    n = rng.poisson((COUNTS.number(flux_low, 1e-2) * area).to_value(u.one))
    table = draw_catalogue(COUNTS, n_pixels=256, pixel_scale=5, frequency=0.944, clustering=None, morphology="points",
                           flux_range=(flux_low, 1e-2), random_state=13)
    assert abs(len(table) - n) < 6 * np.sqrt(n)
    if not between_pixels:
        table["x"], table["y"] = np.rint(table["x"]), np.rint(table["y"])
    table = table[(np.minimum(table["x"], table["y"]) >= 0) & (np.maximum(table["x"], table["y"]) <= 255)]

    def image(threshold, noise):
        tool = replace(EMU, psf=psf, noise=noise, clean_threshold=threshold)
        return simulator(instrument=tool, image="restored").render(table, random_state=14).data.astype(float)

    if not between_pixels:
        # nothing cleaned: a sum of dirty beams, of which the mean over the padded field is taken out
        sky = np.zeros((256, 256))
        np.add.at(sky, (table["y"].astype(int), table["x"].astype(int)), table["S"].value)
        dirty = image(1e3, 0)
        difference = dirty - fftconvolve(sky, psf, mode="same")
        assert np.abs(difference - np.median(difference)).max() < 0.006 * sky.max()
    dirty, threshold = image(1e3, 25e-6), 125e-6
    components, residual = hogbom(dirty, psf.astype(float), threshold)
    x = np.arange(-10, 11)
    beam = np.exp(-4 * np.log(2) * (x[:, None] ** 2 + x**2) / 9)
    cleaned = fftconvolve(components, beam, mode="same") + residual
    restored = image(threshold, 25e-6)
    assert np.corrcoef(cleaned.ravel(), restored.ravel())[0, 1] > 0.999
    faint = [np.clip(one - np.median(one), -2e-4, 2e-4).ravel() for one in (cleaned, restored, dirty)]
    assert np.corrcoef(faint[0], faint[1])[0, 1] > 0.985
    # and closer to CLEAN than the dirty image is
    assert np.abs(faint[0] - faint[1]).mean() < 0.5 * np.abs(faint[0] - faint[2]).mean()
    deviation = [np.median(np.abs(one)) for one in faint]
    assert deviation[1] == pytest.approx(deviation[0], rel=0.03)


def test_restored_images_measure_no_mean():
    tool = replace(EMU, psf=tracks_psf())
    sky = simulator(instrument=tool, image="restored", n_pixels=256, flux_range=(10**-7.5, 1e-4))
    image = sky.sample(1, random_state=15)[0].data
    # nothing reaches the threshold; the mean of the sky is 0.4 of the noise
    mean = EMU.beam_area.value * COUNTS.moment(1, 10**-7.5, 1e-4)
    assert abs(image.mean()) < 0.2 * mean
    assert image.std() == pytest.approx(np.hypot(25e-6, 8e-6), rel=0.2)


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="image='dirty' is none of"):
        simulator(image="dirty")
    with pytest.raises(ValueError, match="needs the point-spread function"):
        simulator(image="restored")
    with pytest.raises(ValueError, match=r"counts are those at 1.4 GHz, the instrument's frequency is 0.944 GHz"):
        simulator(counts=ReferenceCounts())
    with pytest.raises(ValueError, match="counts are those at"):
        simulator(counts=IndependentBins(ReferenceCounts()))
    with pytest.raises(ValueError, match="neither a CountModel nor a family"):
        simulator(counts="t-recs")
    with pytest.raises(ValueError, match="neither an Instrument"):
        simulator(instrument="vla")
    with pytest.raises(ValueError, match="n_pixels"):
        simulator(n_pixels=0)
    with pytest.raises(ValueError, match="morphology"):
        simulator(morphology="blobs")
    with pytest.raises(ValueError, match="flux_range"):
        simulator(flux_range=(1, 0))
