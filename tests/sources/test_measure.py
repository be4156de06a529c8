"""Photometry against what was put in."""

import healpy as hp
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from scipy.stats import chi2, norm
from toy import SIGMA, scatter, toy_image, toy_sky

from astrolearn.sources.background import fit_background
from astrolearn.sources.measure import _standard_deviations, measure
from astrolearn.sources.observation import observe


def coarse_sky(seed):
    """Pixels wider than the PSF, whose quarters are searched."""
    return toy_sky(seed, nside=16, background=12.0)


@pytest.mark.parametrize("make", [toy_sky, toy_image, coarse_sky])
def test_counts_and_errors(make):
    pulls = []
    for seed in range(6):
        skymap = make(seed)
        truth = skymap.sources if hasattr(skymap, "sources") else skymap.meta["sources"]
        observation = observe(skymap)
        assert observation.undersampled == (make is coarse_sky)
        photometry = measure(observation, fit_background(observation), truth["coord"])
        pulls.append((photometry.counts - truth["counts"]) / photometry.counts_error)
    pulls = np.concatenate(pulls)
    # of sources this strong a few per cent pass for background, less than the error of each
    assert -0.8 < pulls.mean() < 0.25
    # drawn counts are compared, so only the background's noise counts: errors include the source's own
    assert 0.5 < pulls.std() < 1.15


def test_neighbours_share_their_light_rightly():
    skymap = toy_sky(3, n_sources=0)
    rng = np.random.default_rng(0)
    coords = SkyCoord([40, 42.5], [10, 10], unit="deg", frame="galactic")
    data = np.array(skymap.data)
    for i in range(2):
        photons = scatter(coords, [3000, 500], SIGMA[i], rng)
        data[i] += np.bincount(hp.vec2pix(32, *photons.T, nest=True), minlength=data.shape[1])
    blend = type(skymap)(
        data, nest=True, energy_edges=skymap.energy_edges, psf=skymap.psf, background=skymap.background
    )
    observation = observe(blend)
    photometry = measure(observation, fit_background(observation), coords)
    together = np.abs(photometry.counts - [[3000] * 2, [500] * 2])
    assert np.all(together < 4 * photometry.counts_error + 60)
    alone = measure(observation, fit_background(observation), coords[1:])
    assert np.all(alone.counts > photometry.counts[1] + 100)  # without its neighbour it would take some of its light


def test_a_source_where_there_is_none_is_not_significant():
    skymap = toy_sky(4, n_sources=0)
    rng = np.random.default_rng(1)
    coords = SkyCoord(
        rng.uniform(0, 360, 300), np.rad2deg(np.arcsin(rng.uniform(-1, 1, 300))), unit="deg", frame="galactic"
    )
    observation = observe(skymap)
    photometry = measure(observation, fit_background(observation), coords)
    pulls = photometry.counts / photometry.counts_error
    assert abs(pulls.mean()) < 0.2 and 0.75 < pulls.std() < 1.2
    assert np.mean(photometry.significance > 2) < 0.06


def test_significance_is_the_tail_of_chi_squared():
    for n_free in (1, 2, 6):
        for statistic in (0.5, 9.0, 25.0, 100.0, 590.0):
            expected = max(norm.isf(0.5 * chi2.sf(statistic, n_free)), 0)
            assert _standard_deviations(np.array([statistic]), n_free)[0] == pytest.approx(expected, rel=1e-5)
    assert _standard_deviations(np.array([25.0]), 1)[0] == pytest.approx(5)
    below, above = _standard_deviations(np.array([599.99, 600.01]), 6)
    assert above == pytest.approx(below, rel=2e-3)
    assert _standard_deviations(np.array([1e6]), 1)[0] == pytest.approx(1000, rel=1e-4)


def test_no_sources():
    observation = observe(toy_sky())
    photometry = measure(observation, fit_background(observation), SkyCoord([], [], unit="deg", frame="galactic"))
    assert photometry.counts.shape == (0, 2) and photometry.significance.shape == (0,)
