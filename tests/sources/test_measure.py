"""Photometry against what was put in."""

import astropy.units as u
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


# -- years -------------------------------------------------------------------------------------------------------------
N_YEARS = 5
PAIR = SkyCoord([40, 42.5], [10, 10], unit="deg", frame="galactic")


def split(skymap, rng):
    """The photons of a map over equal years: (n_year, n_energy, n_pix) or (n_year, n_energy, height, width)."""
    return np.moveaxis(rng.multinomial(skymap.data.astype(int), [1 / N_YEARS] * N_YEARS), -1, 0).astype(np.float32)


def observe_years(skymap, yearly):
    """The observation of a map, and its years on the same lattice."""
    observation = observe(skymap)
    rows = [observe(type(skymap)(year, **keywords(skymap))).counts for year in yearly]
    return observation, np.array(rows)


def keywords(skymap):
    if hasattr(skymap, "nside"):
        return {"nest": True, "energy_edges": skymap.energy_edges, "psf": skymap.psf, "background": skymap.background}
    return {"unit": skymap.unit, "wcs": skymap.wcs, "meta": skymap.meta}


def flat_years(rng, nside=32):
    """Yearly maps of a background of three photons per pixel in all years."""
    return rng.poisson(3.0 / N_YEARS, (N_YEARS, 2, hp.nside2npix(nside))).astype(np.float32)


def add_photons(yearly, coords, counts, rng, widths=SIGMA):
    """Sources of ``counts`` (n_year, n_source) expected photons in each bin, to be added to yearly maps."""
    nside = hp.npix2nside(yearly.shape[-1])
    for year, expected in zip(yearly, counts, strict=True):
        for i, sigma in enumerate(widths):
            photons = scatter(coords, rng.poisson(expected), sigma, rng)
            year[i] += np.bincount(hp.vec2pix(nside, *photons.T, nest=True), minlength=year.shape[1])


def measure_years(yearly, coords):
    """Photometry over the true background."""
    template = toy_sky(n_sources=0, nside=hp.npix2nside(yearly.shape[-1]))
    observation = observe(type(template)(yearly.sum(axis=0), **keywords(template)))
    return measure(observation, np.full_like(observation.counts, 3.0), coords, yearly=yearly)


@pytest.mark.parametrize("make", [toy_sky, toy_image, coarse_sky])
def test_years_add_up_and_are_unbiased(make):
    pulls = []
    for seed in range(6):
        skymap = make(seed)
        truth = skymap.sources if hasattr(skymap, "sources") else skymap.meta["sources"]
        observation, yearly = observe_years(skymap, split(skymap, np.random.default_rng(seed)))
        background = fit_background(observation)
        photometry = measure(observation, background, truth["coord"], yearly=yearly)
        assert photometry.yearly_counts.shape == (len(truth), N_YEARS, 2)
        np.testing.assert_allclose(photometry.yearly_counts.sum(axis=1), photometry.counts, rtol=1e-6)
        # the years take nothing from the fit of the whole
        alone = measure(observation, background, truth["coord"])
        for name in ("counts", "counts_error", "significance", "surroundings", "misfit"):
            assert np.array_equal(getattr(alone, name), getattr(photometry, name)), name
        assert alone.yearly_counts.shape == (len(truth), 0, 2)
        share = photometry.yearly_counts - photometry.counts[:, None] / N_YEARS
        pulls.append(share / (photometry.counts_error[:, None] / np.sqrt(N_YEARS)))
    pulls = np.concatenate(pulls)  # (n_source, n_year, n_energy)
    # the mean of the years takes one degree of freedom: five years scatter by sqrt(4 / 5) of the error
    assert pulls.std() == pytest.approx(np.sqrt(1 - 1 / N_YEARS), abs=0.07)
    assert np.all(np.abs(pulls.mean(axis=(0, 2))) < 4 / np.sqrt(2 * len(pulls)))  # no year is favoured


def test_a_source_that_shone_in_one_year():
    pulls = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        yearly = flat_years(rng)
        expected = np.full((N_YEARS, 2), 60.0)
        expected[:, 0] = [0, 0, 400, 0, 0]
        add_photons(yearly, PAIR, expected, rng)
        photometry = measure_years(yearly, PAIR)
        pulls.append((photometry.yearly_counts - expected.T[:, :, None])
                     / (photometry.counts_error[:, None] / np.sqrt(N_YEARS)))
    pulls = np.array(pulls)  # (n_seed, n_source, n_year, n_energy)
    assert np.all(np.abs(pulls.mean(axis=0)) < 4 / np.sqrt(30) * pulls.std(axis=0) + 0.15)
    # nothing is seen of the flare in the other years, or in the neighbour, whose own scatter is a little more then
    assert np.abs(pulls[:, :, [0, 1, 3, 4]]).mean() < 1
    assert pulls[:, 1].std() < 1.5


def test_years_have_to_be_those_of_the_observation():
    skymap = toy_sky(n_sources=0)
    observation, yearly = observe_years(skymap, split(skymap, np.random.default_rng(0)))
    background = fit_background(observation)
    with pytest.raises(ValueError, match="do not add up"):
        measure(observation, background, PAIR, yearly=yearly[1:])
    with pytest.raises(ValueError, match=r"shape \(5, 1, 12288\), but should have \(n_year, \*\(2, 12288\)\)"):
        measure(observation, background, PAIR, yearly=yearly[:, :1])
    outside = measure(observe(toy_image()), np.ones((2, 96, 128), np.float32), PAIR)
    for name in ("counts", "surroundings", "misfit"):
        assert np.all(getattr(outside, name) == 0), name


# -- surroundings and misfit -------------------------------------------------------------------------------------------
def spread_out(n, rng):
    """Positions at least 8 degrees apart."""
    pixels = rng.permutation(hp.nside2npix(4))[:n]
    return SkyCoord(*hp.pix2ang(4, pixels, lonlat=True), unit="deg", frame="galactic")


def test_surroundings_are_the_background_and_the_neighbours():
    rng = np.random.default_rng(0)
    yearly, level = flat_years(rng, nside=64), 3.0 / hp.nside2pixarea(64)
    add_photons(yearly, PAIR, np.array([[600.0, 100.0]] * N_YEARS), rng)
    photometry = measure_years(yearly, PAIR)
    # the photons of one Gaussian averaged over the other: exp(-d^2 / 4 s^2) / (4 pi s^2), s with the pixel's width
    distance = PAIR[0].separation(PAIR[1]).rad
    variance = SIGMA**2 + hp.nside2pixarea(64) / 12
    overlap = np.exp(-(distance**2) / (4 * variance)) / (4 * np.pi * variance)
    # of the neighbour with the counts that were fitted, which are 500 and 3000 within their errors
    expected = level + photometry.counts[::-1] * overlap
    np.testing.assert_allclose(photometry.surroundings, expected, rtol=0.05)
    assert np.all(np.abs(photometry.counts - [[3000], [500]]) < 4 * photometry.counts_error)
    alone = measure_years(yearly, spread_out(30, rng)[5:])
    np.testing.assert_allclose(np.median(alone.surroundings, axis=0), level, rtol=0.03)


def test_surroundings_beside_a_mask():
    # a wide PSF is measured in larger pixels: some were observed in part, and have fewer photons but are no darker
    template = toy_sky(n_sources=0, nside=64)
    options = keywords(template) | {"psf": [5.0, 1.0] * u.deg}
    data = np.random.default_rng(0).poisson(30.0, template.data.shape).astype(np.float32)
    masked = type(template)(data, **options, mask=template.pixel_coords().l.deg < 40)
    edge = SkyCoord(np.full(7, 40.5), np.linspace(-60, 60, 7), unit="deg", frame="galactic")
    observation = observe(masked)
    background = np.where(observation.valid, 30.0, 0.0) * np.ones((2, 1))
    yearly = np.stack([observation.counts, np.zeros_like(observation.counts)])
    photometry = measure(observation, background.astype(np.float32), edge, yearly=yearly)
    # all photons came in the first of two years
    np.testing.assert_allclose(photometry.yearly_counts[:, 0], photometry.counts, rtol=1e-6)
    assert np.all(photometry.yearly_counts[:, 1] == 0)
    level = 30.0 / hp.nside2pixarea(64)
    np.testing.assert_allclose(photometry.surroundings[:, 0], level, rtol=0.03)
    np.testing.assert_allclose(photometry.surroundings[:, 1].mean(), level, rtol=0.05)


def test_misfit_tells_an_extended_source():
    rng = np.random.default_rng(0)
    coords = spread_out(100, rng)
    for nside in (32, 64):  # pixels as wide as the PSF, and half as wide
        misfits = []
        for counts, width in ((0.0, 0.0), (160.0, 0.0), (160.0, np.deg2rad(2.0))):
            yearly = flat_years(rng, nside)
            add_photons(yearly, coords, np.full((N_YEARS, 100), counts), rng, np.hypot(SIGMA, width))
            misfits.append(measure_years(yearly, coords).misfit)
        empty, point, extended = misfits
        # less than one, for the fit follows a part of the scatter
        for right in (empty.mean(axis=0), point.mean(axis=0)):
            assert np.all((right > 0.65) & (right < 1))
        assert np.all(np.median(extended, axis=0) > 3)
