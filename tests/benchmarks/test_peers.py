import astropy.units as u
import healpy as hp
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData
from astropy.wcs import WCS
from scipy.optimize import brentq

from astrolearn.sky import SkyMap, match
from astrolearn.sky.psf import RadialPSF
from astrolearn.sources.observation import observe
from benchmarks import tsmap

EDGES = [1, 3, 10] * u.GeV
BACKGROUND = np.array([0.8, 0.3])
COUNTS = 120
EXPOSURE = 2e11


@pytest.fixture(scope="module")
def injected():
    """Observation of an image with 16 sources of equal brightness and spectral index 2.2, and their positions."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt = ["GLON-TAN", "GLAT-TAN"], [-0.2, 0.2]
    wcs.wcs.crval, wcs.wcs.crpix = [30, 50], [32.5, 32.5]
    psf = RadialPSF.gaussian([0.36, 0.3] * u.deg)
    rng = np.random.default_rng(1)
    grid = np.arange(8, 64, 16)
    x, y = (c.ravel() + rng.uniform(-0.5, 0.5, 16) for c in np.meshgrid(grid, grid))
    share = tsmap.power_law_counts(EDGES, np.full(2, EXPOSURE))
    data = rng.poisson(np.broadcast_to(BACKGROUND[:, None, None], (2, 64, 64))).astype(float)
    for i, mean in enumerate(COUNTS * share / share.sum()):
        for x0, y0 in zip(x, y, strict=True):
            r = psf.sample(rng.poisson(mean), i, rng) / np.deg2rad(0.2)
            angle = rng.uniform(0, 2 * np.pi, r.size)
            pixel = np.rint(y0 + r * np.sin(angle)).astype(int), np.rint(x0 + r * np.cos(angle)).astype(int)
            np.add.at(data[i], pixel, 1)
    exposure = np.full(2, EXPOSURE) * u.cm**2 * u.s
    meta = {"energy_edges": EDGES, "background": BACKGROUND, "psf": psf, "exposure": exposure}
    image = CCDData(data, unit=u.ct, wcs=wcs, meta=meta)
    return observe(image), wcs.pixel_to_world(x, y), share


def test_amplitude_is_the_likelihood_maximum():
    rng = np.random.default_rng(0)
    k = rng.dirichlet(np.ones(20), 30).astype(np.float32) * 0.9
    b = rng.uniform(0.1, 2, k.shape).astype(np.float32)
    n = rng.poisson(b + rng.choice([0, 5, 500], 30)[:, None] * k).astype(np.float32)
    ts, s = tsmap.fit_amplitude(n, b, k)
    for row in range(30):
        def slope(a, row=row):
            return np.sum(n[row] * k[row] / (b[row] + a * k[row])) - k[row].sum()

        best = brentq(slope, 0, 1e5) if slope(0) > 0 else 0
        assert s[row] == pytest.approx(best, rel=0.01, abs=0.01)
        gain = 2 * np.sum(n[row] * np.log1p(best * k[row] / b[row]) - best * k[row])
        assert ts[row] == pytest.approx(gain, rel=0.001, abs=0.01)


def test_no_excess_no_source():
    ones = np.ones((1, 5), np.float32)
    ts, s = tsmap.fit_amplitude(0.5 * ones, ones, ones / 5)
    assert ts == 0
    assert s == 0


def test_recovers_brightness_significance_and_position(injected):
    observation, coords, share = injected
    found = tsmap.find_sources(observation, containment=0.98)
    found = found[found["score"] > 6]
    assert len(found) == len(coords)
    result = match(found, coords, 0.2 * u.deg)
    assert result.completeness == 1
    assert np.median(result.separation) < 0.04 * u.deg
    # the peak is the best of many trials, so its counts and TS are above those at the true position by a few per cent
    counts = found["counts"]
    assert np.mean(counts) == pytest.approx(COUNTS, rel=0.1)
    assert np.std(counts) == pytest.approx(np.sqrt(COUNTS), rel=0.6)
    np.testing.assert_allclose(found["flux"].to_value(1 / u.cm**2 / u.s), counts / share.sum())
    pixel, psf = observation.lattice.pixel_size, observation.pixel_psf
    axis = np.arange(-8, 9) * pixel
    expected = 0
    for i in range(2):
        k = psf.evaluate(np.hypot(axis[:, None], axis), i) * pixel**2 * COUNTS * share[i] / share.sum()
        expected += 2 * np.sum((k + BACKGROUND[i]) * np.log1p(k / BACKGROUND[i]) - k)
    assert np.mean(found["score"]) == pytest.approx(np.sqrt(expected), rel=0.06)


@pytest.mark.parametrize("finer", [False, True])
def test_sphere_uses_true_distances(finer):
    """At the pole, on the equator and where base pixels meet, against a sum over the whole sky."""
    nside, psf = 32, RadialPSF.gaussian(2.5 * u.deg)
    rng = np.random.default_rng(2)
    background = np.full(hp.nside2npix(nside), 0.7)
    counts = rng.poisson(background).astype(float)
    skymap = SkyMap(counts[None], nest=True, energy_edges=[1, 10] * u.GeV, background=background[None], psf=psf)
    observation = observe(skymap)
    assert observation.lattice.nside == nside
    lattice, sqrt_ts, amplitude = tsmap.ts_map(observation, containment=0.9, finer=finer)
    vectors = np.array(hp.pix2vec(nside, np.arange(len(counts)), nest=True))
    radius = observation.pixel_psf.containment_radius(0.9).to_value(u.rad)[0]
    for lon, lat in ((0, 89.9), (45, 41.8), (90, 0.1), (123, -35), (0, -88)):
        pixel = hp.ang2pix(lattice.nside, lon, lat, nest=True, lonlat=True)
        trial = np.array(hp.pix2vec(lattice.nside, pixel, nest=True))
        chord = np.linalg.norm(vectors - trial[:, None], axis=0)
        k = np.where(chord < radius, observation.pixel_psf.evaluate(chord, 0) * hp.nside2pixarea(nside), 0)
        use = k > 0
        ts, s = tsmap.fit_amplitude(*(a[None, use].astype(np.float32) for a in (counts, background, k)))
        assert sqrt_ts[pixel] ** 2 == pytest.approx(ts[0], rel=0.02, abs=0.02)
        assert amplitude[pixel] == pytest.approx(s[0], rel=0.02, abs=0.05)


def test_nothing_outside_of_the_map():
    counts = np.ones((1, hp.nside2npix(16)))
    mask = np.arange(counts.size) % 7 > 0
    skymap = SkyMap(counts, nest=True, energy_edges=[1, 10] * u.GeV, background=0.1 * counts,
                    psf=RadialPSF.gaussian(5 * u.deg), mask=mask)
    lattice, sqrt_ts, _ = tsmap.ts_map(observe(skymap), finer=False)
    assert lattice.shape == (counts.size,)
    assert np.all(sqrt_ts[mask] == 0)
    assert np.all(sqrt_ts[~mask] > 0)


@pytest.mark.parametrize("name", ["scikit-image blob_log", "sep, PSF matched filter", "photutils DAOStarFinder"])
def test_image_finders(injected, name):
    pytest.importorskip("sep")
    from benchmarks.peers import PEERS

    observation, coords, _ = injected
    found = PEERS[name](observation)
    found = found[found["score"] > 6]
    result = match(found, coords, 0.2 * u.deg)
    assert result.completeness == 1
    assert result.purity == 1


def test_planes_keep_all_photons():
    pytest.importorskip("sep")
    from benchmarks.peers import search

    nside = 64
    rng = np.random.default_rng(3)
    counts = rng.poisson(0.5, (1, hp.nside2npix(nside))).astype(float)
    skymap = SkyMap(counts, nest=True, energy_edges=[1, 10] * u.GeV, background=np.full_like(counts, 0.5),
                    psf=RadialPSF.gaussian(0.8 * u.deg))
    seen = []

    def middle(plane):
        seen.append(plane.counts.sum() / plane.background.sum())
        half = np.array(plane.counts.shape) // 2
        return half[1:], half[:1]

    found = search(observe(skymap), middle)
    assert len(found) == 768  # each plane owns its centre
    assert np.mean(seen) == pytest.approx(1, abs=0.02)
    centres = SkyCoord(*hp.pix2ang(8, np.arange(768), lonlat=True), unit=u.deg, frame="galactic")
    assert match(found, centres, 0.01 * u.deg).completeness == 1
