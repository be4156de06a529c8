import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.nddata import CCDData
from astropy.table import QTable
from astropy.utils.exceptions import AstropyUserWarning
from scipy import fft

from astrolearn.counts.fluctuations import fluctuation_analysis
from astrolearn.counts.models import CountModel, ReferenceCounts
from astrolearn.counts.pofd import deflection_probability

ARCSEC = np.pi / 180 / 3600
FWHM, PIXEL = 15.0, 5.0
OMEGA = np.pi * (FWHM * ARCSEC) ** 2 / (4 * np.log(2))
NODES = np.linspace(-7.5, 0, 16)
LOG_N = ReferenceCounts(frequency=944 * u.MHz).log_density(NODES)
COUNTS = CountModel.from_logs(NODES, LOG_N)
KNOWN = {"beam": FWHM, "pixel_scale": PIXEL, "frequency": 944 * u.MHz}


def shifted(dex):
    return CountModel.from_logs(NODES, LOG_N + dex)


def simulate(counts, noise, n_pixels, seed, faintest=3e-7, psf=None):
    """Poisson points on half pixels, blurred by FFT (so the edges wrap); noise with the beam's correlations."""
    rng = np.random.default_rng(seed)
    log_s = np.linspace(np.log10(faintest), 1, 4001)
    per_log = 10 ** (counts.log_density(log_s) + log_s) * np.log(10)
    number = np.concatenate([[0], np.cumsum((per_log[1:] + per_log[:-1]) / 2 * np.diff(log_s))])
    n_sources = rng.poisson(number[-1] * (n_pixels * PIXEL * ARCSEC) ** 2)
    flux = 10 ** np.interp(rng.uniform(0, number[-1], n_sources), number, log_s)
    fine = 2 * n_pixels
    sky = np.bincount(rng.integers(0, fine**2, n_sources), flux, minlength=fine**2).reshape(fine, fine)
    image = _blur(sky, 2 * FWHM / PIXEL)
    if psf is not None:
        image = psf(image, sky)
    white = _blur(rng.standard_normal((n_pixels, n_pixels)), FWHM / PIXEL)
    return image[::2, ::2] + noise / white.std() * white


def _blur(image, fwhm):
    """Convolve with a Gaussian of peak 1."""
    n = len(image)
    sigma = fwhm / np.sqrt(8 * np.log(2))
    k2 = fft.fftfreq(n)[:, None] ** 2 + fft.rfftfreq(n) ** 2
    transfer = 2 * np.pi * sigma**2 * np.exp(-2 * np.pi**2 * sigma**2 * k2)
    return fft.irfft2(fft.rfft2(image) * transfer, s=image.shape)


def analytic_image(noise, n_pixels=2560, pixel_scale=PIXEL):
    """Independent pixels with exactly the quantiles of P(D): an image without the scatter of a sample."""
    edges = noise * 1.77 * np.sinh(0.02 * np.arange(-150, 620))
    cumulative = np.concatenate([[0], np.cumsum(deflection_probability(COUNTS, edges, beam=FWHM, noise=noise))])
    ranks = (np.arange(n_pixels**2) + 0.5) / n_pixels**2
    return np.interp(ranks, cumulative, edges).reshape(n_pixels, n_pixels)


@pytest.fixture(scope="module")
def image():
    return simulate(COUNTS, 25e-6, 512, 1)


@pytest.fixture(scope="module")
def result(image):
    return fluctuation_analysis(image, noise=25e-6, **KNOWN)


def test_table(result):
    assert result.colnames == [
        "S_lo", "S_mid", "S_hi", "n", "n_q16", "n_q84", "log_n_error", "euclidean", "prior_width", "information",
        "prior_driven",
    ]
    np.testing.assert_allclose(result["S_mid"].to_value(u.Jy), 10**NODES)
    np.testing.assert_allclose(result["S_hi"][:-1], result["S_lo"][1:])
    np.testing.assert_allclose(np.log10(result["S_hi"] / result["S_lo"]), 0.5)
    np.testing.assert_allclose(np.log10(result["n_q84"] / result["n"]), result["log_n_error"])
    np.testing.assert_allclose(np.log10(result["n"] / result["n_q16"]), result["log_n_error"])
    np.testing.assert_allclose(result["euclidean"], (result["n"] * result["S_mid"] ** 2.5).to(u.Jy**1.5 / u.sr))
    np.testing.assert_array_equal(result["prior_width"], 0.4)
    np.testing.assert_array_equal(result["prior_driven"], result["information"] < 0.5)
    # 25 uJy/beam say nothing about single sources of 3 uJy, and much about those of 0.1 mJy to 1 mJy
    assert result["prior_driven"][NODES < -5.4].all()
    assert not result["prior_driven"][(NODES > -4.1) & (NODES < -2.9)].any()


def test_meta(result, image):
    meta = result.meta
    assert meta["converged"] is True
    assert meta["n_iterations"] < 100
    np.testing.assert_allclose(np.sqrt(np.diag(meta["covariance"])), result["log_n_error"])
    assert meta["area"].to_value(u.deg**2) == pytest.approx((512 * 5 / 3600) ** 2)
    assert meta["beam"] == 15 * u.arcsec
    assert meta["frequency"] == 944 * u.MHz
    assert meta["n_samples"] == pytest.approx(4 * 512**2 * (PIXEL * ARCSEC) ** 2 / OMEGA)
    assert meta["noise"].to_value(u.uJy / u.beam) == pytest.approx(25, abs=0.5)
    assert 0 < meta["noise_error"] < 0.5 * u.uJy / u.beam
    # sources fainter than those drawn have no mean in this image, and that of the model is taken for a zero level
    unseen = OMEGA * COUNTS.brightness(10**-8.5 * u.Jy, 3e-7 * u.Jy).to_value(u.Jy / u.sr)
    assert meta["zero_level"].to_value(u.Jy / u.beam) == pytest.approx(-unseen, abs=5e-6)
    assert meta["level"].to_value(u.Jy / u.beam) == pytest.approx(np.median(image), abs=1e-5)


def test_written_and_read(result, tmp_path):
    result.write(tmp_path / "counts.ecsv")
    again = QTable.read(tmp_path / "counts.ecsv")
    np.testing.assert_array_equal(again["n"], result["n"])
    np.testing.assert_array_equal(again.meta["covariance"], result.meta["covariance"])


@pytest.mark.parametrize("noise", [25e-6, 3e-6])
def test_histogram_of_a_simulated_image(noise):
    image = simulate(COUNTS, noise, 768, 2)
    # the model's counts go on below the faintest sources that were drawn; they add a mean and next to no variance
    missing = OMEGA * COUNTS.brightness(10**-8.5 * u.Jy, 3e-7 * u.Jy).to_value(u.Jy / u.sr)
    edges = np.concatenate([np.arange(-2, 8, 0.5), np.geomspace(8, 300, 12)]) * noise
    share = np.histogram(image, edges)[0] / image.size
    p = deflection_probability(COUNTS, edges + missing, beam=FWHM, noise=noise)
    n_beams = image.size * (PIXEL * ARCSEC) ** 2 / OMEGA
    pull = (share - p) / np.sqrt(p / n_beams)
    assert np.abs(pull).max() < 4
    assert 0.2 < np.std(pull) < 1.5


def test_unbiased_with_pulls_of_order_one():
    truth = LOG_N + 0.3 * np.sin(1.7 * np.arange(16))  # not the prior's centre
    deviation, pull = [], []
    for seed in range(16):
        sky = simulate(CountModel.from_logs(NODES, truth), 10e-6, 320, 100 + seed)
        table = fluctuation_analysis(sky, noise=10e-6, start=shifted(-0.5), prior=CountModel.from_logs(NODES, truth),
                                     **KNOWN)
        deviation.append(np.log10(table["n"].value) - truth)
        pull.append(deviation[-1] / table["log_n_error"])
    informed = (NODES > -4.6) & (NODES < -2.9)
    deviation, pull = np.array(deviation)[:, informed], np.array(pull)[:, informed]
    assert (np.abs(deviation.mean(axis=0)) < 3.5 * deviation.std(axis=0) / np.sqrt(16)).all()
    assert (deviation.std(axis=0) < 0.15).all()
    assert 0.7 < np.sqrt((pull**2).mean()) < 1.3


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        # an independent implementation's Fisher errors in dex, all nodes, level and noise free: log S = -5 ... -3
        (25e-6, [0.57, 0.088, 0.017, 0.011, 0.016]),
        (3e-6, [0.015, 0.006, 0.006, 0.008, 0.015]),
    ],
)
def test_fisher_errors(noise, expected):
    # 25 deg2: as many beams as 2560 pixels of 7.03 arcsec; two samples per beam and a prior of 2 dex, as there
    table = fluctuation_analysis(
        analytic_image(noise), noise=noise, **KNOWN | {"pixel_scale": 7.03125},
        samples_per_beam=2, errors="fisher", prior_width=None,
    )
    np.testing.assert_allclose(table["log_n_error"][5:10], expected, rtol=0.35)
    # and the fit returns what the image was made of
    np.testing.assert_array_less(np.abs(np.log10(table["n"].value) - LOG_N)[5:13], 0.25 * table["log_n_error"][5:13])
    np.testing.assert_allclose(table["log_n_error"][:2], 2, rtol=0.02)


@pytest.mark.parametrize("noise", [25e-6, 3e-6])
@pytest.mark.parametrize("prior_width", [0.4, None])
def test_start_does_not_matter(noise, prior_width):
    sky = simulate(COUNTS, noise, 400, 7)
    low, high = (
        fluctuation_analysis(sky, noise=noise, start=shifted(dex), prior_width=prior_width, **KNOWN)
        for dex in (-0.5, 0.5)
    )
    assert low.meta["converged"] and high.meta["converged"]
    assert (np.abs(np.log10(low["n"] / high["n"])) < 0.03 * low["log_n_error"]).all()


def test_errors_shrink_with_area(image, result):
    part = fluctuation_analysis(image[:256, :256], noise=25e-6, errors="fisher", **KNOWN)
    whole = fluctuation_analysis(image, noise=25e-6, errors="fisher", **KNOWN)
    nodes = slice(7, 9)
    np.testing.assert_allclose(part["log_n_error"][nodes] / whole["log_n_error"][nodes], 2, rtol=0.3)
    # those of the blocks are of the same size
    np.testing.assert_allclose(result["log_n_error"] / whole["log_n_error"], 1, atol=0.5)


def test_few_blocks_fall_back_on_fisher(image):
    blocks, fisher = (
        fluctuation_analysis(image[:64, :64], noise=25e-6, errors=kind, **KNOWN) for kind in ("blocks", "fisher")
    )
    np.testing.assert_array_equal(blocks["log_n_error"], fisher["log_n_error"])


def test_pure_noise():
    noise = 25e-6
    sky = simulate(shifted(-30), noise, 512, 3)
    table = fluctuation_analysis(sky, noise=noise, prior_width=None, **KNOWN)
    # there is no source above 5 sigma, where the reference has a thousand
    bright = (NODES > -4.1) & (NODES < -2.4)
    assert (np.log10(table["n"].value) < LOG_N - 1)[bright].all()
    assert table.meta["noise"].to_value(u.Jy / u.beam) == pytest.approx(noise, rel=0.02)


def test_missing_pixels_are_ignored(image, result):
    framed = np.pad(image, ((64, 32), (0, 17)), constant_values=np.nan)
    table = fluctuation_analysis(framed, noise=25e-6, errors="fisher", **KNOWN)
    expected = fluctuation_analysis(image, noise=25e-6, errors="fisher", **KNOWN)
    np.testing.assert_allclose(table["n"], expected["n"])
    np.testing.assert_allclose(table["log_n_error"], expected["log_n_error"])
    assert table.meta["area"] == result.meta["area"]
    masked = CCDData(np.nan_to_num(framed, nan=9.0), unit="Jy/beam", mask=np.isnan(framed))
    np.testing.assert_allclose(fluctuation_analysis(masked, noise=25e-6, **KNOWN)["n"], expected["n"])


@pytest.mark.parametrize("convert", [
    lambda image: (image * 1e3) * u.mJy / u.beam,
    lambda image: (image * u.Jy / u.beam).to(u.mK, u.brightness_temperature(944 * u.MHz, OMEGA * u.sr)),
    lambda image: image.astype(">f4"),
])
def test_units(image, result, convert):
    table = fluctuation_analysis(convert(image), noise=25 * u.uJy / u.beam, beam="15 arcsec", pixel_scale=5 * u.arcsec,
                                 frequency="0.944 GHz")
    np.testing.assert_allclose(table["n"], result["n"], rtol=0.01)


def dish(image, sky):
    """An image through a beam that sits in a broad negative dish."""
    return 1.3 * image - 0.3 * _blur(sky, 5 * FWHM / PIXEL)


def dish_psf():
    x = (np.arange(129) - 64) * PIXEL / FWHM
    r2 = 4 * np.log(2) * (x**2 + x[:, None] ** 2)
    return 1.3 * np.exp(-r2) - 0.3 * np.exp(-r2 / 2.5**2)


def test_psf_with_sidelobes():
    sky = simulate(COUNTS, 10e-6, 512, 5, psf=dish)
    table = fluctuation_analysis(sky, noise=10e-6, psf=dish_psf(), start=shifted(-0.5), **KNOWN)
    pull = (np.log10(table["n"].value) - LOG_N) / table["log_n_error"]
    informed = (NODES > -5.1) & (NODES < -1.9)
    assert (np.abs(pull[informed]) < 3.5).all()
    assert table["log_n_error"][NODES == -4] < 0.1


def test_restored_image():
    threshold = 50e-6

    def restore(image, sky):
        clean = np.maximum(sky - threshold, 0)
        smooth = _blur(clean, 2 * FWHM / PIXEL)
        return smooth + dish(image - smooth, sky - clean)

    sky = simulate(COUNTS, 10e-6, 640, 6, psf=restore)
    known = {"noise": 10e-6, "psf": dish_psf(), **KNOWN}
    informed = (NODES > -4.6) & (NODES < -1.9)

    def worst(table):
        return np.abs((np.log10(table["n"].value) - LOG_N) / table["log_n_error"])[informed].max()

    assert worst(fluctuation_analysis(sky, clean_threshold=threshold, **known)) < 3.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        assert worst(fluctuation_analysis(sky, **known)) > 5  # the PSF alone does not do


def test_warns_of_another_noise(image):
    with pytest.warns(AstropyUserWarning, match=r"noise is .*e-05 Jy/beam rather than noise=4e-05"):
        fluctuation_analysis(image, noise=40e-6, **KNOWN)


def test_own_nodes_and_prior(image):
    flux = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1] * u.Jy
    table = fluctuation_analysis(image, noise=25e-6, flux=flux, prior=shifted(0.2), prior_width=0.1, **KNOWN)
    np.testing.assert_allclose(table["S_mid"], flux)
    assert np.log10(table["n"].value[0]) == pytest.approx(LOG_N[3] + 0.2, abs=0.05)
    np.testing.assert_allclose(table["prior_width"], 0.1)


def test_warns_when_not_converged(image):
    with pytest.warns(AstropyUserWarning, match="not converged in 2 iterations"):
        table = fluctuation_analysis(image, noise=25e-6, max_iter=2, **KNOWN)
    assert not table.meta["converged"]


def test_input_is_not_changed(image):
    before = image.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fluctuation_analysis(image, noise=25e-6, **KNOWN)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros(9)}, "image has the shape"),
        ({"image": np.full((99, 99), np.nan)}, "no pixel"),
        ({"image": np.ones((99, 99))}, "constant"),
        ({"image": np.ones((9, 9))}, "beams; at least 100"),
        ({"noise": 0}, "noise=0.0 must be positive"),
        ({"noise": 0.01}, r"less than 1/30 of the width .* units"),
        ({"noise": np.nan}, "noise=nan is not finite"),
        ({"beam": 0}, "beam=0 must be"),
        ({"pixel_scale": -1}, "pixel_scale=-1.0 must be positive"),
        ({"frequency": 0}, "frequency=0.0 must be positive"),
        ({"prior_width": 0}, "prior_width=0 must be positive"),
        ({"noise_uncertainty": 0}, "noise_uncertainty=0 must be positive"),
        ({"samples_per_beam": -2}, "samples_per_beam=-2 must be positive"),
        ({"errors": "none"}, "errors='none' is neither"),
        ({"max_iter": 0}, "max_iter=0 must be positive"),
        ({"flux": [1e-3, 1e-4]}, "increasing order"),
        ({"flux": [0, 1e-4]}, "positive nodes"),
        ({"psf": np.ones((5, 5)) / 25}, "peak of 1"),
        ({"clean_threshold": 1e-4}, "needs a psf"),
        ({"flux_range": (1, 0.1)}, "the lower one first"),
        ({"start": lambda flux: 0 * flux.value / u.Jy / u.sr}, "start must give positive counts"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        fluctuation_analysis(**{"image": np.random.default_rng(0).normal(size=(99, 99)), "noise": 1.0} | KNOWN | change)


@pytest.mark.parametrize(
    "change", [{"image": np.ones((99, 99)) * u.Jy}, {"noise": 1 * u.K}, {"beam": 1 * u.s}, {"frequency": 1 * u.Jy}]
)
def test_wrong_units(change):
    with pytest.raises(u.UnitConversionError, match=next(iter(change))):
        fluctuation_analysis(**{"image": np.ones((99, 99)), "noise": 1.0} | KNOWN | change)
