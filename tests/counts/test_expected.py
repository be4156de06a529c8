"""Expected histograms are like those of simulated images: in the mean, in their noise, and with extended sources."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.special import factorial
from scipy.stats import norm

from astrolearn.counts import (
    CountModel,
    GaussianProcess,
    IndependentBins,
    Instrument,
    RadioSkySimulator,
    ReferenceCounts,
)
from astrolearn.counts.beam_response import BeamResponse
from astrolearn.counts.expected import ExpectedSkies
from astrolearn.counts.features import EDGES, cumulative_histogram, moved
from astrolearn.counts.pofd import deflection_probability
from astrolearn.counts.shapes_response import ShapesResponse

COUNTS = ReferenceCounts(frequency="944 MHz")
N = 256
FAMILY = GaussianProcess(COUNTS, sigma=1e-9)
MODEL = CountModel.from_logs(FAMILY.log_flux, FAMILY.mean)
POINTS = {"clustering": None, "morphology": "points"}
GROUPS = [slice(38, 42), slice(42, 46), slice(46, 52), slice(52, 60), slice(60, 75), slice(75, 100)]


def grouped(cumulative):
    """Fractions of pixels in a few wide bins of pixel value."""
    fraction = np.diff(cumulative, axis=1)
    return np.stack([fraction[:, group].sum(axis=1) for group in GROUPS], axis=1)


@cache
def simulated(n, **options):
    simulator = RadioSkySimulator(counts=MODEL, n_pixels=N, **options)
    return np.array([cumulative_histogram([image.data], 25e-6)[0] for image in simulator.stream(n, 0)])


@cache
def expected(n, n_pixels=N**2, **options):
    skies = ExpectedSkies(RadioSkySimulator(counts=FAMILY, n_pixels=N, **options))
    return moved(skies.draw(n, n_pixels, np.random.default_rng(1))[1])


def test_mean_is_the_probability_of_deflection():
    p = deflection_probability(MODEL, EDGES * 25e-6, beam=15, noise=25e-6, flux_range=(10**-7.5, 1))
    p = np.diff(moved(np.append(0, np.cumsum(p / p.sum()))[None])[0])
    drawn = np.diff(expected(300, 1e10, **POINTS), axis=1).mean(axis=0)
    np.testing.assert_allclose(drawn[30:120], p[30:120], rtol=5e-3, atol=1e-7)


def test_mean_and_noise_are_those_of_simulated_images():
    real, drawn = grouped(simulated(60, **POINTS)), grouped(expected(3000, **POINTS))
    error = drawn.std(axis=0) / np.sqrt(len(real))
    assert (np.abs(real.mean(axis=0) - drawn.mean(axis=0)) < 4 * error).all()
    ratio = real.std(axis=0) / drawn.std(axis=0)
    assert (np.abs(np.log(ratio)) < 0.35).all()  # 60 skies: 9 %


def test_extended_sources_and_clustering_change_the_histogram_as_in_images():
    points, drawn = (grouped(expected(3000, **options)).mean(axis=0) for options in (POINTS, {"clustering": None}))
    real = [grouped(simulated(60, **options)) for options in (POINTS, {"clustering": None})]
    difference = np.log(real[1].mean(axis=0) / real[0].mean(axis=0))
    error = np.sqrt(sum(part.var(axis=0) / 60 / part.mean(axis=0) ** 2 for part in real))
    found = np.log(drawn / points)
    assert (np.abs(found - difference) < 4 * error).all()
    assert found[-2] > 0.03  # doubles are two fainter sources each, of which there are more
    clustered = grouped(expected(3000, morphology="points")).mean(axis=0)
    assert clustered[0] < points[0]  # the middle of the distribution is wider
    assert clustered[2] > points[2]


def test_noise_falls_with_the_area():
    small, large = (grouped(expected(2000, n_pixels, **POINTS)).std(axis=0) for n_pixels in (N**2, 16 * N**2))
    np.testing.assert_allclose(small / large, 4, rtol=0.15)


def test_noise_of_pixels_alone_is_that_of_a_gaussian_field():
    # nearly no sources: the scatter of the fraction within one sigma of the median, from simulated noise
    faint = CountModel.from_logs(FAMILY.log_flux, FAMILY.mean - 6)
    simulator = RadioSkySimulator(counts=faint, n_pixels=N, **POINTS)
    real = np.array([np.mean(np.abs(image.data - np.median(image.data)) < 25e-6) for image in simulator.stream(80, 2)])
    family = IndependentBins(shifted(-6), sigma=0)
    skies = ExpectedSkies(RadioSkySimulator(counts=family, n_pixels=N, **POINTS))
    cumulative = moved(skies.draw(4000, N**2, np.random.default_rng(0))[1])
    inside = np.array([np.interp(1, EDGES, row) - np.interp(-1, EDGES, row) for row in cumulative])
    assert abs(np.log(inside.std() / real.std())) < 0.3
    # by Mehler's formula, with the integral of the k-th power of the beam's shape one beam over k
    beams = N**2 / Instrument.preset("emu").pixels_per_beam
    hermite = {2: 1, 4: -2, 6: 6}  # He_k-1(1)
    terms = [(2 * norm.pdf(1) * value) ** 2 / factorial(k) / (k * beams) for k, value in hermite.items()]
    assert inside.std() == pytest.approx(np.sqrt(sum(terms)), rel=0.05)


def shifted(dex):
    return CountModel.from_logs(FAMILY.log_flux, FAMILY.mean + dex)


def test_restored_images_take_the_psf():
    y, x = np.mgrid[-20:21, -20:21] / 1.274  # standard deviations of the beam in pixels
    psf = np.exp(-(x**2 + y**2) / 2) - 0.02 * np.exp(-(x**2 + y**2) / 50)
    tool = replace(Instrument.preset("emu"), psf=psf / psf.max())
    options = {"instrument": tool, "image": "restored", "n_pixels": N, **POINTS}
    skies = ExpectedSkies(RadioSkySimulator(counts=FAMILY, **options))
    drawn = grouped(moved(skies.draw(2000, N**2, np.random.default_rng(0))[1]))
    real = grouped(np.array([cumulative_histogram([image.data], 25e-6)[0]
                             for image in RadioSkySimulator(counts=MODEL, **options).stream(40, 0)]))
    error = np.maximum(drawn.std(axis=0), real.std(axis=0)) / np.sqrt(40)
    assert (np.abs(real.mean(axis=0) - drawn.mean(axis=0)) < 5 * error).all()


def test_faint_sources_are_points():
    frequency, flux = np.geomspace(1e2, 1e6, 5), 10 ** np.arange(-7, -4, 1 / 40)
    shapes, points = (response.kernel(frequency, flux) for response in (ShapesResponse(15, 0.944), BeamResponse(15)))
    faint = flux <= 3e-5
    np.testing.assert_array_equal(shapes[:, faint], points[:, faint])
    assert np.abs(shapes[:, ~faint] / points[:, ~faint] - 1).max() > 1e-3


def test_extended_sources_keep_their_flux():
    # for y S << 1 the kernel is i y times the integral of the beam, whatever the shape
    frequency, flux = np.array([1e-4]), 10 ** np.arange(-2, -1, 1 / 40)
    kernel = ShapesResponse(15, 0.944).kernel(frequency, flux)[0, 4:-4]
    points = BeamResponse(15).kernel(frequency, flux)[0, 4:-4]
    np.testing.assert_allclose(kernel.imag, points.imag, rtol=3e-3)
