"""Training data: varied noise, targets, the correction by real skies, and rows that are new in each epoch."""

import numpy as np
import pytest
from scipy.special import gamma

from astrolearn.counts import CountModel, IndependentBins, RadioSkySimulator, ReferenceCounts
from astrolearn.counts.expected import ExpectedSkies, evaluate
from astrolearn.counts.features import HistogramFeatures, moved
from astrolearn.counts.training import (
    SMALLEST_AREA,
    Correction,
    FreshSkies,
    SkySampler,
    learn_correction,
    sky_inputs,
)

FAMILY = IndependentBins(ReferenceCounts(frequency="944 MHz"))
BINS = np.array([-5.0, -4.0, -3.0])
N_PIXELS = 1e6


@pytest.fixture(scope="module")
def sampler():
    expected = ExpectedSkies(RadioSkySimulator(counts=FAMILY, n_pixels=1000, clustering=None, morphology="points"))
    _, cumulative = expected.draw(1000, N_PIXELS, np.random.default_rng(0))
    features = HistogramFeatures.fit(moved(cumulative), 0.4 * N_PIXELS)
    return SkySampler(expected, features, None, BINS, (N_PIXELS, 0.4), (0.8, 1.25))


def test_counts_between_nodes():
    log_n = FAMILY.sample(4, 0)
    points = np.array([[-8.0, -4.9, 0.3], [-7.5, -4.0, 0.0], [-6.2, -6.1, -6.0], [-1.0, -0.9, -0.8]])
    expected = [CountModel.from_logs(FAMILY.log_flux, row).log_density(p) for row, p in zip(log_n, points, strict=True)]
    np.testing.assert_allclose(evaluate(FAMILY.log_flux, log_n, points), expected)


def test_network_is_told_area_and_noise():
    sky = sky_inputs(np.array([1.0, 0.1, 5, 1e-9]), np.array([1.0, 1.1, 1, 1]))
    np.testing.assert_allclose(sky[:, 0], [0, -1, 0, np.log10(SMALLEST_AREA)], rtol=1e-6)
    np.testing.assert_allclose(sky[:, 1], [0, 10 * np.log10(1.1), 0, 0], rtol=1e-5)


def test_louder_noise_is_a_sky_of_brighter_sources(sampler):
    # in units of the noise, counts n at a noise of a are a n(a S) at the noise: both histograms are drawn
    rng = np.random.default_rng(1)
    log_n = np.tile(FAMILY.mean, (200, 1))
    shift = np.log10(1.25)
    scaled = np.tile(ReferenceCounts(frequency="944 MHz").log_density(FAMILY.log_flux + shift) + shift, (200, 1))
    _, louder = sampler.expected.draw(200, N_PIXELS, rng, log_n, noise=1.25)
    _, same = sampler.expected.draw(200, N_PIXELS, rng, scaled)
    difference = np.diff(louder - same, axis=1)
    error = difference.std(axis=0) / np.sqrt(200)
    kept = np.diff(same, axis=1).mean(axis=0) > 1e-3  # where the histogram is known to a few per cent
    assert (np.abs(difference.mean(axis=0)) < 4 * error + 0.01 * np.diff(same, axis=1).mean(axis=0))[kept].all()
    inputs, targets = sampler.draw(2000, rng)
    stated = 10 ** (inputs["sky"][:, 1].astype(float) / 10)
    assert 0.72 < stated.min() < 0.82
    assert 1.22 < stated.max() < 1.38
    # whatever the noise, the counts are those of the family
    quiet = stated < 0.9
    np.testing.assert_allclose(targets[quiet].mean(axis=0), FAMILY.mean[[5, 7, 9]], atol=0.1)
    np.testing.assert_allclose(targets[quiet].std(axis=0), 0.4, atol=0.06)


def test_noise_is_stated_with_an_error(sampler):
    inputs, _ = sampler.draw(500, np.random.default_rng(1), share=1.0, noise=1.1)
    stated = 10 ** (inputs["sky"][:, 1].astype(float) / 10) / 1.1
    assert stated.std() == pytest.approx(0.02, rel=0.15)
    assert stated.mean() == pytest.approx(1, abs=0.004)


def test_draws_cover_areas_and_are_reproducible(sampler):
    first, second = (sampler.draw(300, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first[0]["features"], second[0]["features"])
    np.testing.assert_array_equal(first[1], second[1])
    area = first[0]["sky"][:, 0]
    assert 0.35 < np.mean(area == 0) < 0.65
    assert area.min() < -2
    assert first[0]["features"].dtype == first[0]["sky"].dtype == np.float32


def test_correction_is_found_and_added(sampler):
    rng = np.random.default_rng(2)
    mean, scale = FAMILY.mean, FAMILY.sigma
    log_n = FAMILY.sample(400, rng)
    true = rng.standard_normal((len(mean) + 1, 3))
    design = np.column_stack([np.ones(400), (log_n - mean) / scale])
    spread = np.array([0.3, 0.3, 0.9])
    differences = design @ true + spread * rng.standard_normal((400, 3))
    correction = Correction.fit(log_n, differences, 0.09 * np.eye(3), mean, scale)
    np.testing.assert_allclose(correction.coefficients, true, atol=0.25)
    # only the third feature scatters more than it should, by 0.9^2 - 0.3^2
    np.testing.assert_allclose(correction.scatter @ correction.scatter.T, np.diag([0, 0, 0.72]), atol=0.15)
    # without a sky its own difference is less well described
    left_out = np.arange(400) != 7
    without = Correction.fit(log_n[left_out], differences[left_out], 0.09 * np.eye(3), mean, scale)
    np.testing.assert_allclose(correction.optimism[7], (correction(log_n) - without(log_n))[7], rtol=1e-6)
    other = FAMILY.sample(5, 3)
    np.testing.assert_allclose(correction(other), np.column_stack([np.ones(5), (other - mean) / scale])
                               @ correction.coefficients)
    n_features = sampler.features.n_features
    constant = Correction(mean, scale, np.vstack([np.ones(n_features), np.zeros((len(mean), n_features))]),
                          np.zeros((n_features, n_features)))
    for share in (1.0, 0.01):
        drawn = []
        for sampler.correction in (None, constant):
            drawn.append(sampler.draw(20, np.random.default_rng(0), share=share)[0]["features"])
        sampler.correction = None
        wanted = sampler.features.scale(0.4 * N_PIXELS)[0] / sampler.features.scale(0.4 * N_PIXELS * share)[0]
        np.testing.assert_allclose((drawn[1] - drawn[0]), np.tile(wanted, (20, 1)), atol=1e-3)


def test_noise_is_not_taken_for_a_correction():
    rng = np.random.default_rng(3)
    log_n = FAMILY.sample(30, rng)
    correction = Correction.fit(log_n, rng.standard_normal((30, 50)), np.eye(50), FAMILY.mean, FAMILY.sigma)
    assert (correction.coefficients == 0).all(axis=0).mean() > 0.6
    assert (correction.scatter**2).sum() < 5


def test_skies_as_expected_need_no_correction(sampler):
    rng = np.random.default_rng(4)
    log_n, cumulative = sampler.expected.draw(300, N_PIXELS, rng)
    correction = learn_correction(sampler, log_n, moved(cumulative), rng)
    # in units of the scatter of the features
    assert np.sqrt((correction(log_n)[:, :5] ** 2).mean()) < 0.03


def test_clustering_within_beams_is_found():
    expected = ExpectedSkies(RadioSkySimulator(counts=FAMILY, n_pixels=1000, morphology="points"))
    theory = expected.clumping
    assert theory == pytest.approx(1e-3 * gamma(0.6) * (2 * 15 / np.sqrt(8 * np.log(2)) / 3600) ** -0.8)
    rng = np.random.default_rng(6)
    _, cumulative = expected.draw(1000, N_PIXELS, rng)
    features = HistogramFeatures.fit(moved(cumulative), 0.4 * N_PIXELS)
    sampler = SkySampler(expected, features, None, BINS, (N_PIXELS, 0.4), (0.8, 1.25))
    expected.clumping = 0.5 * theory
    log_n, cumulative = expected.draw(60, N_PIXELS, rng)
    expected.clumping = theory
    correction = learn_correction(sampler, log_n, moved(cumulative), rng)
    assert expected.clumping == pytest.approx(0.5 * theory, abs=0.16 * theory)
    assert np.sqrt((correction(log_n)[:, :5] ** 2).mean()) < 0.03


def test_rows_are_new_in_each_epoch():
    calls = []

    def draw(n):
        calls.append(n)
        return {"x": np.full((n, 2), len(calls))}, np.arange(n)

    skies = FreshSkies(draw, 3)
    assert len(skies) == 3
    read = [skies[i] for i in (2, 0, 1, 1, 0, 2)]
    assert calls == [3, 3]
    assert [inputs["x"][0] for inputs, _ in read] == [1, 1, 1, 2, 2, 2]
    assert [target for _, target in read] == [2, 0, 1, 1, 0, 2]
