"""What is measured of a source, against fits by scipy, light curves drawn by hand, and what must not matter."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from scipy.optimize import minimize
from scipy.stats import chi2, norm

from astrolearn.sources.classes.features import describe, feature_names, without_years
from astrolearn.sources.measure import Photometry

EDGES = np.array([0.3, 0.5, 1, 2, 7, 20, 1000])
N = len(EDGES) - 1
EXPOSURE = np.array([2.5, 3.0, 3.5, 4.0, 4.0, 3.0]) * 1e11  # cm2 s, as of ten years of the LAT
PIVOT = 2.0
COLUMN = {name: column for column, name in enumerate(feature_names(N))}


def photons(index, curvature, amplitude=1e-10):
    """Photons per bin (n, n_energy) of log-parabolas, amplitude in 1/(cm2 s GeV) at 1 GeV of index 2.2, by hand."""
    energy = np.geomspace(EDGES[0], EDGES[-1], 2001)
    x = np.log(energy / PIVOT)
    curves = energy**-2.2 * np.exp(-(index[:, None] - 2.2) * x - curvature[:, None] * x**2)
    running = np.zeros(curves.shape)
    running[:, 1:] = np.cumsum((curves[:, 1:] + curves[:, :-1]) / 2 * np.diff(energy), axis=1)
    at = np.stack([np.interp(EDGES, energy, one) for one in running])
    return amplitude * EXPOSURE * np.diff(at, axis=1)


def look(counts, error, yearly=None, coords=None, exposure=EXPOSURE, surroundings=1e3, significance=10.0):
    n = len(counts)
    yearly = np.zeros((n, 0, N)) if yearly is None else yearly
    if coords is None:
        coords = SkyCoord(np.arange(n) * 7.3 % 360, np.linspace(-60, 60, n), unit="deg", frame="galactic")
    photometry = Photometry(counts, error, np.full(n, significance), yearly, np.full((n, N), float(surroundings)),
                            np.ones((n, N)))  # fmt: skip
    return describe(photometry, np.broadcast_to(exposure, (n, N)), EDGES, coords)


def get(features, name):
    return features[:, COLUMN[name]].astype(float)


def test_names_match_columns():
    names = feature_names(N)
    assert len(names) == len(set(names)) == 5 * N + 16 + 10
    features = look(np.ones((3, N)), np.ones((3, N)))
    assert features.shape == (3, len(names))
    assert features.dtype == np.float32


# -- spectra ----------------------------------------------------------------------------------------------------------
def test_spectra_without_noise_are_recovered():
    index, curvature = np.array([1.6, 2.2, 2.6, 2.0, 2.3]), np.array([0.0, 0.0, 0.1, 0.5, 0.9])
    counts = photons(index, curvature, 1e-8)
    error = 0.01 * np.sqrt(counts * counts.max(axis=1, keepdims=True))
    features = look(counts, error)
    np.testing.assert_allclose(get(features, "index"), index - 2.2, atol=0.02)
    np.testing.assert_allclose(get(features, "curvature"), curvature, atol=0.02)
    # the amplitude is of the power law of index 2.2 that is tangent at 2 GeV
    np.testing.assert_allclose(get(features, "flux"), np.log(1e-8) + 20, atol=0.01)
    # ten rounds of the fit leave the hardest spectrum a little off, which its misfit shows
    assert np.all(get(features, "spectral_misfit")[1:] < np.log(0.11))
    # the spectrum of index 2.2 is flat and that of a pulsar is peaked
    spectrum = np.stack([get(features, f"spectrum_{i}") for i in range(N)], axis=1)
    np.testing.assert_allclose(np.sinh(spectrum[1]), 1, atol=0.01)
    assert spectrum[4].argmax() in (2, 3)
    np.testing.assert_allclose(np.sinh(get(features, "significance_3")), counts[:, 3] / error[:, 3], rtol=1e-3)


def scipy_fit(counts, error):
    """Greatest posterior: Gaussian errors, priors N(0, 0.45) of the index and N(0.12, 0.25) of the curvature."""
    flat = photons(np.array([2.2]), np.array([0.0]), 1.0)[0]

    def loss(theta):
        model = photons(np.array([2.2 + theta[1]]), np.array([theta[2]]), np.exp(theta[0]))[0]
        prior = (theta[1] / 0.45) ** 2 + ((theta[2] - 0.12) / 0.25) ** 2
        return 0.5 * (np.sum(((counts - model) / error) ** 2) + prior)

    start = [np.log(np.sum(counts / error**2 * flat) / np.sum((flat / error) ** 2)), 0.0, 0.12]
    return minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-6}).x


def noisy(index, curvature, significance, seed):
    """Spectra with Gaussian noise that is the larger in the lower bins, as of the diffuse emission."""
    rng = np.random.default_rng(seed)
    expected = photons(index, curvature)
    error = np.array([60, 50, 35, 25, 8, 4.0]) * np.ones_like(expected)
    scale = significance / np.sqrt(np.sum((expected / error) ** 2, axis=1, keepdims=True))
    expected = expected * scale
    error = np.sqrt(error**2 + expected)
    return expected + rng.normal(size=error.shape) * error, error


def test_noisy_spectra_are_fitted_as_by_scipy():
    index, curvature = np.array([1.7, 2.2, 2.6, 2.1, 2.4, 1.9]), np.array([0.0, 0.1, 0.05, 0.6, 0.3, 0.1])
    for significance, tolerance in ((30.0, 0.01), (8.0, 0.02)):
        counts, error = noisy(index, curvature, significance, seed=3)
        features = look(counts, error)
        for row in range(len(index)):
            _, expected_index, expected_curvature = scipy_fit(counts[row], error[row])
            assert get(features, "index")[row] == pytest.approx(expected_index, abs=tolerance)
            assert get(features, "curvature")[row] == pytest.approx(expected_curvature, abs=tolerance)


def test_errors_are_right_if_sources_are_as_the_prior_says():
    rng = np.random.default_rng(1)
    n = 2000
    index, curvature = 2.2 + 0.45 * rng.normal(size=n), 0.12 + 0.25 * rng.normal(size=n)
    counts, error = noisy(index, curvature, 12.0, seed=2)
    features = look(counts, error)
    for name, true in (("index", index - 2.2), ("curvature", curvature)):
        pull = (get(features, name) - true) / np.exp(get(features, f"{name}_error"))
        # log-parabolas are not linear in their parameters: the most probable one is not quite the mean
        low, middle, high = np.percentile(pull, [16, 50, 84])
        assert abs(middle) < 0.25, name
        assert 0.85 < (high - low) / 2 < 1.15, name


def test_where_photons_say_nothing_the_prior_does():
    features = look(np.zeros((1, N)), np.full((1, N), 50.0))
    assert get(features, "index")[0] == pytest.approx(0.0, abs=0.1)
    assert get(features, "curvature")[0] == pytest.approx(0.12, abs=0.05)
    assert np.exp(get(features, "index_error"))[0] == pytest.approx(0.45, rel=0.05)
    assert np.exp(get(features, "curvature_error"))[0] == pytest.approx(0.25, rel=0.05)


def test_pulsars_are_curved_and_power_laws_are_not():
    index, curvature = np.repeat([2.2, 2.1], 300), np.repeat([0.0, 0.7], 300)
    counts, error = noisy(index, curvature, 25.0, seed=4)
    significance = get(look(counts, error), "curvature_significance")
    # the prior of 0.12 and the noise leave power laws within 3 sigma of none
    assert np.mean(np.abs(significance[:300]) < 3) > 0.99
    assert np.mean(significance[300:] > 3) > 0.95


# -- light curves -----------------------------------------------------------------------------------------------------
def steady(n, n_years, seed, variation=None):
    """A power law seen in equal years: photons drawn from Poisson's law; ``variation`` (n, n_years) is relative."""
    rng = np.random.default_rng(seed)
    variation = np.ones((n, n_years)) if variation is None else variation
    expected = photons(np.array([2.2]), np.array([0.0]), 2e-9)[0] / n_years
    background = np.array([4000, 3000, 2000, 1000, 100, 30]) / n_years
    yearly = rng.poisson(expected * variation[:, :, None] + background) - background
    return yearly.sum(axis=1), np.tile(np.sqrt(n_years * (expected + background)), (n, 1)), yearly


@pytest.mark.parametrize("n_years", [3, 10])
def test_steady_sources_vary_by_chance(n_years):
    counts, error, yearly = steady(4000, n_years, seed=5)
    features = look(counts, error, yearly)
    significance = np.sinh(get(features, "variability_significance"))
    assert abs(significance.mean()) < 0.06
    assert significance.std() == pytest.approx(1, abs=0.06)
    assert np.mean(significance > 3) < 0.006  # 0.0013 if Gaussian
    relative = np.exp(get(features, "yearly_error"))
    # the error of a year is the scatter of the years
    weight = photons(np.array([2.2]), np.array([0.0]))[0] / error[0] ** 2
    flux = (yearly * weight).sum(axis=2)
    flux *= n_years / flux.sum(axis=1, keepdims=True)
    assert np.median(relative) == pytest.approx(np.sqrt(flux.var(axis=1, ddof=1).mean()), rel=0.04)
    assert abs(np.sinh(get(features, "excess_variance")).mean()) < 0.1 * np.median(relative) ** 2
    # without a trend, neighbouring years correlate only by the mean that was taken off
    assert get(features, "persistence").mean() == pytest.approx(-1 / n_years, abs=0.02)


def test_chi_squared_of_a_light_curve_by_hand():
    """The variability index of 4FGL in one bin: sum of squared deviations from the mean over the squared error."""
    n_years = 8
    flux = np.array([1.0, 1.4, 0.8, 0.6, 1.2, 1.0, 0.9, 1.1])
    counts = np.zeros((1, N))
    counts[0] = photons(np.array([2.2]), np.array([0.0]), 1e-9)[0]
    error = 0.1 * counts  # in each bin: 0.1 sqrt(8) a year, 1 / sqrt(6) of it for six bins together
    yearly = counts[:, None, :] * flux[None, :, None] / n_years
    features = look(counts, error, yearly)
    sigma = 0.1 * np.sqrt(n_years / N)
    statistic = np.sum((flux - 1) ** 2) / sigma**2
    exact = norm.isf(chi2.sf(statistic, n_years - 1))
    assert np.sinh(get(features, "variability_significance"))[0] == pytest.approx(exact, rel=0.02)
    assert np.exp(get(features, "yearly_error"))[0] == pytest.approx(sigma, rel=0.01)
    assert np.sinh(get(features, "excess_variance"))[0] == pytest.approx(np.var(flux, ddof=1) - sigma**2, rel=0.02)
    d = flux - 1
    assert get(features, "persistence")[0] == pytest.approx((d[1:] * d[:-1]).sum() / (d**2).sum(), abs=1e-3)
    curve = np.sinh([get(features, f"light_curve_{i}")[0] for i in range(10)])
    ordered = np.sort(d / sigma)[::-1]
    np.testing.assert_allclose(curve, np.interp(np.linspace(0, 7, 10), np.arange(8), ordered), rtol=0.02, atol=0.02)


def test_variability_grows_with_its_amplitude():
    """Chi-squared of a source that varies by a share f is, on average, n - 1 + (n - 1) (f / error)^2."""
    n, n_years = 1500, 10
    rng = np.random.default_rng(6)
    found = []
    for amplitude in (0.0, 0.2, 0.4):
        variation = 1 + amplitude * rng.choice([-1, 1], size=(n, n_years))
        counts, error, yearly = steady(n, n_years, seed=7, variation=variation)
        features = look(counts, error, yearly)
        excess = np.sinh(get(features, "excess_variance"))
        assert excess.mean() == pytest.approx(amplitude**2, abs=0.02 + 0.05 * amplitude**2)
        found.append(np.median(get(features, "variability_significance")))
    assert found[0] < found[1] < found[2]


def test_the_order_of_years_only_reaches_persistence():
    counts, error, yearly = steady(40, 10, seed=8)
    one, other = look(counts, error, yearly), look(counts, error, yearly[:, ::-1][:, [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]])
    changed = [name for name, column in COLUMN.items() if not np.allclose(one[:, column], other[:, column], atol=1e-4)]
    assert changed == ["persistence"]


@pytest.mark.parametrize("n_years", [0, 1])
def test_without_years(n_years):
    counts, error, yearly = steady(30, 10, seed=9)
    features = look(counts, error, yearly)
    before = features.copy()
    alone = look(counts, error, counts[:, None, :][:, :n_years])
    np.testing.assert_array_equal(without_years(features, N), alone)
    np.testing.assert_array_equal(features, before)
    assert not np.array_equal(alone, features)


# -- surroundings and scales ------------------------------------------------------------------------------------------
def test_neighbours():
    coords = SkyCoord([10, 10.5, 11.5, 200], [0, 0, 0, 0], unit="deg", frame="galactic")
    counts = np.array([100.0, 300.0, 50.0, 10.0])[:, None] * np.full((4, N), 1 / N)
    features = look(counts, np.ones((4, N)), coords=coords.icrs)
    np.testing.assert_allclose(get(features, "neighbour_separation"), [0.5, 0.5, 1.0, 3.0], rtol=1e-5)
    np.testing.assert_allclose(get(features, "second_separation"), [1.5, 1.0, 1.5, 3.0], rtol=1e-5)
    np.testing.assert_allclose(np.exp(get(features, "neighbour_brightness")), [3, 1 / 3, 6, 1], rtol=1e-4)
    np.testing.assert_allclose(np.exp(get(features, "second_brightness")), [1 / 2, 1 / 6, 2, 1], rtol=1e-4)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_sources(n):
    features = look(np.ones((n, N)), np.ones((n, N)), np.full((n, 4, N), 0.25))
    assert features.shape == (n, len(COLUMN))
    assert np.all(np.isfinite(features))
    assert np.all(get(features, "second_separation") == 3)


def test_scaling():
    """More of everything is the same sky seen longer with the same errors; more exposure means fainter sources."""
    counts, error = noisy(np.linspace(1.8, 2.6, 12), np.linspace(0, 0.8, 12), 15.0, seed=10)
    yearly = np.random.default_rng(0).dirichlet(np.ones(10), 12)[:, :, None] * counts[:, None, :]
    one = look(counts, error, yearly)
    same = look(4 * counts, 4 * error, 4 * yearly, exposure=4 * EXPOSURE, surroundings=4e3)
    np.testing.assert_allclose(same, one, rtol=1e-4, atol=1e-4)
    fainter = look(counts, error, yearly, exposure=4 * EXPOSURE)
    shifted = {"flux", *(f"surroundings_{i}" for i in range(N))}
    for name, column in COLUMN.items():
        shift = -np.log(4) if name in shifted else 0
        np.testing.assert_allclose(fainter[:, column], one[:, column] + shift, rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("exposure", [EXPOSURE, EXPOSURE * [0, 1, 1, 1, 1, 1], np.zeros(N)])
def test_whatever_was_counted_features_are_finite(exposure):
    rng = np.random.default_rng(11)
    counts = rng.normal(0, 100, (23, N))
    counts[:2], counts[22] = [[0], [-40]], 1e7
    error = np.concatenate([np.full((22, N), 20.0), np.full((1, N), 3e3)])
    yearly = rng.normal(0, 30, (len(counts), 10, N))
    yearly += (counts[:, None] - yearly.sum(axis=1, keepdims=True)) / 10
    features = look(counts, error, yearly, exposure=exposure, significance=0.0, surroundings=0.0)
    assert np.all(np.isfinite(features))
    assert np.abs(features).max() <= 30
    assert np.abs(features[:, COLUMN["index"]]).max() <= 2
    assert get(features, "curvature").min() >= -0.3 - 1e-6
    assert get(features, "curvature").max() <= 1.5


def test_units_of_energy_do_not_slip_in():
    """Energies are in GeV: the amplitude at the pivot is that of the flux integrated by hand over the bins."""
    amplitude = 3e-10
    counts = photons(np.array([2.2]), np.array([0.0]), amplitude)
    energy = EDGES * u.GeV
    by_hand = amplitude / 1.2 * (energy[:-1].value ** -1.2 - energy[1:].value ** -1.2) * EXPOSURE
    np.testing.assert_allclose(counts[0], by_hand, rtol=1e-4)
    assert get(look(counts, 0.01 * counts), "flux")[0] == pytest.approx(np.log(amplitude) + 20, abs=0.02)
