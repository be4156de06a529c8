"""Simulated skies: photon numbers, statistics, truth, seeds, years, images, and the real sky."""

import astropy.units as u
import healpy as hp
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData
from astropy.table import Table
from numpy.testing import assert_allclose
from scipy.stats import chi2

from astrolearn.sky import RadialPSF, SkyMap
from astrolearn.sources.fermi import (
    DiffusePerturbation,
    GalacticModel,
    LATSkySimulator,
    SourcePopulation,
    simulation,
)
from astrolearn.sources.fermi.photons import photon_directions
from astrolearn.sources.fermi.significance import AsimovSignificance

CENTRE = SkyCoord(0, 0, unit="deg", frame="galactic")


def simulator(**options):
    defaults = {"energy_edges": [1, 3, 30] * u.GeV, "nside": 32, "population": SourcePopulation(flux_min=2e-10),
                "random_state": 1}
    return LATSkySimulator(**defaults | options)


@pytest.fixture(scope="module")
def sky():
    return simulator().sample()[0]


def test_map_carries_all_that_a_finder_needs(sky):
    assert isinstance(sky, SkyMap)
    assert sky.data.shape == (2, 12288)
    assert sky.data.dtype == np.float32
    assert np.all(sky.data == np.round(sky.data))
    assert sky.nest
    assert sky.frame == "galactic"
    assert sky.energy_edges.unit == u.GeV
    assert sky.exposure.unit.is_equivalent(u.cm**2 * u.s)
    assert sky.background.shape == sky.data.shape
    assert sky.psf.n_energy == 2
    assert sky.meta["event_type"] == "FRONT"
    assert sky.meta["years"] == 10
    assert sum(sky.meta["n_sources"].values()) == len(sky.sources)
    assert set(sky.meta["diffuse_norms"]) == {*GalacticModel.components, "isotropic"}
    assert simulator(background=False).sample()[0].background is None


def test_truth_table(sky):
    truth = sky.sources
    assert np.all(np.diff(truth["flux"].value) <= 0)
    assert truth["npred"].shape == truth["counts"].shape == (len(truth), 2)
    pull = (truth["counts"] - truth["npred"]) / np.sqrt(truth["npred"])
    bright = truth["npred"] > 20
    assert_allclose(pull[bright].mean(), 0, atol=0.1)
    assert_allclose(pull[bright].std(), 1, atol=0.1)
    assert np.all(truth["significance"] > 0)
    assert np.all(np.isfinite(truth["significance"]))


def test_photons_are_conserved():
    population = SourcePopulation(flux_min=2e-10)
    only = simulator(population=population, perturb=None)
    truth = only.sample(random_state=5)[0]
    expected = truth.background.sum(1) + truth.sources["counts"].sum(0)
    # sources above the threshold come on top of the template, within its Poisson noise
    assert_allclose(truth.data.sum(1), expected, atol=5 * np.sqrt(expected).max())


def test_totals_stay_when_faint_sources_are_drawn_one_by_one():
    bright = SourcePopulation(flux_min=1.2e-10, galactic=0)
    deep = SourcePopulation(flux_min=2e-11, galactic=0)
    totals = []
    for population in (bright, deep):
        skies = simulator(population=population, perturb=None).sample(4)
        # without the photons of sources above the threshold
        over = np.array([s.sources["npred"][s.sources["flux"].value > 1.2e-10].sum(0) for s in skies])
        totals.append(np.mean([s.data.sum(1) for s in skies], axis=0) - over.mean(0))
    assert_allclose(totals[1], totals[0], rtol=0.01)


def test_diffuse_only_is_poisson():
    sim = simulator(population=None, perturb=None)
    skies = sim.sample(8)
    assert len(skies[0].sources) == 0
    assert "significance" in skies[0].sources.colnames
    mean = skies[0].background[1].astype(float)
    deviation = np.mean([(s.data[1] - mean) ** 2 / mean for s in skies])
    assert_allclose(deviation, 1, atol=0.02)


def test_perturbation_changes_the_photons_but_not_the_background():
    exact, off = (simulator(population=None, perturb=p).sample()[0]
                  for p in (None, DiffusePerturbation(norm=(1.3, 1.3))))
    assert np.array_equal(exact.background, off.background)
    assert_allclose(off.data.sum(1) / exact.data.sum(1), 1.3, rtol=0.1)
    assert set(exact.meta["diffuse_norms"].values()) == {1.0}


def test_seeds():
    state = np.random.get_state()[1].copy()
    sim = simulator()
    first, second = sim.sample(2, random_state=7)
    again = simulator().sample(2, random_state=7)
    assert np.array_equal(first.data, again[0].data)
    assert np.array_equal(second.data, again[1].data)
    assert not np.array_equal(first.data, second.data)
    assert np.array_equal(sim.sample()[0].data, sim.sample()[0].data)
    assert first.meta["seed"] != second.meta["seed"]
    generator = np.random.default_rng(3)
    assert not np.array_equal(sim.sample(1, generator)[0].data, sim.sample(1, generator)[0].data)
    assert np.array_equal(np.random.get_state()[1], state)


def test_event_types_side_by_side():
    both = simulator(event_type=("FRONT", "BACK")).sample()[0]
    assert list(both) == ["FRONT", "BACK"]
    front, back = both["FRONT"], both["BACK"]
    assert np.array_equal(front.sources["flux"], back.sources["flux"])
    assert np.array_equal(front.sources["coord"].l, back.sources["coord"].l)
    assert_allclose(front.sources["npred"].sum() / back.sources["npred"].sum(), 0.55 / 0.45, rtol=0.01)
    assert not np.array_equal(front.sources["counts"], back.sources["counts"])
    assert np.all(front.psf.containment_radius() < back.psf.containment_radius())
    assert front.meta["diffuse_norms"] == back.meta["diffuse_norms"]


def test_sources_sit_at_their_places():
    # a bright lone source: its photons centre on it and spread as its PSF
    bright = SourcePopulation(flux_min=9.9e-9, galactic=0)
    sim = simulator(energy_edges=[5, 10] * u.GeV, nside=128, population=bright)
    sky = sim.sample(random_state=3)[0]
    source = sky.sources[0]
    mean = sky.background[0]
    near = sky.pixel_coords().separation(source["coord"]) < 3 * u.deg
    excess = (sky.data[0] - mean)[near]
    vectors = np.array(hp.pix2vec(128, np.flatnonzero(near), nest=True))
    centroid = SkyCoord(*(vectors * excess).sum(1), representation_type="cartesian", frame="galactic")
    assert centroid.separation(source["coord"]) < 0.1 * u.deg


def test_photon_offsets_follow_the_psf():
    psf = RadialPSF.gaussian([2.0])
    table = SourcePopulation(flux_min=1e-8, galactic=0).sample(1)[:3]
    table["extension"] = [0, 3, 3] * u.deg
    table["extended_shape"] = ["", "disc", "gaussian"]
    n = 20_000
    xyz = np.concatenate(list(photon_directions(table, np.full(3, n), psf, 0, np.random.default_rng(0))))
    assert_allclose(np.linalg.norm(xyz, axis=1), 1)
    centre = np.asarray(table["coord"].cartesian.xyz.value).T
    for i, expected in enumerate((2.0, np.hypot(2, 3), np.hypot(2, 3))):
        theta = np.rad2deg(np.arccos(xyz[i * n:(i + 1) * n] @ centre[i]))
        assert_allclose(np.percentile(theta, 68), expected, rtol=0.05)
        assert_allclose(xyz[i * n:(i + 1) * n].mean(0) @ centre[i], np.mean(np.cos(np.deg2rad(theta))), rtol=1e-3)


def test_significance_limits():
    psf = RadialPSF.gaussian([1.0, 2.0])
    significance = AsimovSignificance(psf, 1e-6)
    zero = [0] * u.deg
    # a faint source over a high background: TS = s^2 / B integral k^2, Gaussian integral k^2 = 1 / (4 pi sigma^2)
    sigma = np.deg2rad([1.0, 2.0]) / np.sqrt(-2 * np.log(0.32))
    s, density = np.array([[10.0, 5.0]]), np.array([[1e7, 1e7]])
    expected = np.sqrt(np.sum(s**2 / density / (4 * np.pi * sigma**2)))
    assert_allclose(significance(s, density, zero), expected, rtol=0.01)
    # brighter, less background and smaller is more significant
    base = significance(s, density, zero)
    assert significance(2 * s, density, zero) > base
    assert significance(s, density / 2, zero) > base
    assert significance(s, density, [2] * u.deg) < base
    assert AsimovSignificance(psf, np.deg2rad(2))(s, density, zero) < base


def test_significance_matches_the_spread_of_fitted_counts():
    # few background photons: compare with the sum over pixels of the Asimov likelihood ratio
    psf = RadialPSF.gaussian([1.0])
    theta = np.deg2rad(np.linspace(0.005, 6, 4000))
    ring = 2 * np.pi * np.sin(theta) * np.gradient(theta)
    k = psf.evaluate(theta, 0)
    s, b = 30.0, 2e4
    ts = 2 * np.sum(((s * k + b) * np.log1p(s * k / b) - s * k) * ring)
    ours = AsimovSignificance(psf, 1e-6)(np.array([[s]]), np.array([[b]]), [0] * u.deg)
    assert_allclose(ours, np.sqrt(ts), rtol=0.01)


@pytest.fixture(scope="module")
def years():
    """Five years of one sky, as (map of all years, [yearly maps])."""
    return simulator(years=5.2).sample_yearly(random_state=4)[0]


def test_years_add_up(years):
    total, yearly = years
    assert len(yearly) == 5
    assert total.data.dtype == yearly[0].data.dtype == np.float32
    assert np.array_equal(sum(year.data.astype(float) for year in yearly), total.data)
    assert np.array_equal(sum(year.sources["counts"] for year in yearly), total.sources["counts"])
    assert_allclose(sum(year.sources["npred"] for year in yearly), total.sources["npred"])
    assert_allclose(sum(year.exposure for year in yearly).value, total.exposure.value, rtol=1e-5)
    assert_allclose(sum(year.background for year in yearly), total.background, rtol=1e-5)
    assert [year.meta["year"] for year in yearly] == [0, 1, 2, 3, 4]
    assert_allclose([year.meta["years"] for year in yearly], 1.04)
    assert total.meta["years"] == 5.2
    assert np.all([year.psf is total.psf for year in yearly])
    # ten quiet copies of exposure and background would be most of the memory
    assert np.all([np.shares_memory(year.exposure, yearly[0].exposure) for year in yearly])
    assert np.all([np.shares_memory(year.background, yearly[0].background) for year in yearly])
    assert not np.array_equal(yearly[0].data, yearly[1].data)


def test_years_show_the_sky_of_sample(years):
    total, yearly = years
    once = simulator(years=5.2).sample(random_state=4)[0]
    assert total.meta == once.meta
    for name in once.sources.colnames:
        if name not in ("coord", "counts"):
            assert np.array_equal(total.sources[name], once.sources[name]), name
    for sky in yearly:
        assert np.array_equal(sky.sources["coord"].l, once.sources["coord"].l)
        assert np.array_equal(sky.sources["class"], once.sources["class"])
    assert np.array_equal(total.exposure, once.exposure)
    assert np.array_equal(total.background, once.background)
    # the photons are others, of the same expectation: a diffuse field of its own would show, it scatters by a tenth
    assert not np.array_equal(total.data, once.data)
    difference, quadrature = total.data - once.data, total.data + once.data
    assert_allclose(np.sum(difference**2) / np.sum(quadrature), 1, atol=0.1)


def test_truth_of_the_years(years):
    total, yearly = years
    truth, mean = total.sources, total.sources["flux"]
    assert truth["yearly_flux"].shape == (len(truth), 5)
    assert truth["yearly_flux"].unit == mean.unit
    assert_allclose(truth["yearly_flux"].mean(axis=1).value, mean.value)
    varies = np.isin(truth["class"], ("bll", "fsrq"))
    assert_allclose(truth["yearly_flux"][~varies].value, np.repeat(mean[~varies, None].value, 5, axis=1))
    assert np.all(truth["yearly_flux"][varies].std(axis=1) > 0)
    assert_allclose(truth["npred"] / 5, yearly[2].sources["npred"] / (yearly[2].sources["flux"] / mean)[:, None])
    for i, year in enumerate(yearly):
        assert "yearly_flux" not in year.sources.colnames
        assert_allclose(year.sources["flux"].value, truth["yearly_flux"][:, i].value)
        pull = (year.sources["counts"] - year.sources["npred"]) / np.sqrt(year.sources["npred"])
        bright = year.sources["npred"] > 20
        assert_allclose(pull[bright].mean(), 0, atol=0.15)
        assert_allclose(pull[bright].std(), 1, atol=0.1)


def test_significance_of_a_year():
    # with a flat, exact background: from the density of its own map, and less than that of all years
    sim = simulator(years=4, perturb=None, nside=16)
    total, yearly = sim.sample_yearly(random_state=2)[0]
    significance = AsimovSignificance(total.psf, hp.nside2resol(16))
    year = yearly[1]
    pixel = hp.ang2pix(16, year.sources["coord"].l.deg, year.sources["coord"].b.deg, nest=True, lonlat=True)
    density = year.background[:, pixel].T / hp.nside2pixarea(16)
    assert_allclose(year.sources["significance"],
                    significance(year.sources["npred"], density, year.sources["extension"]), rtol=1e-3)
    steady = ~np.isin(total.sources["class"], ("bll", "fsrq"))
    # a test statistic is proportional to the time, so a quarter of it gives half of the significance
    assert_allclose(year.sources["significance"][steady] / total.sources["significance"][steady], 0.5, rtol=1e-4)


def test_photons_follow_the_light_curve():
    # the photons within the pixels around the brightest FSRQ against its yearly fluxes, and against a steady source
    bright = SourcePopulation(flux_min=9.9e-9, galactic=0)
    sim = simulator(years=10, perturb=None, population=bright, nside=64, event_type="FRONT+BACK")
    total, yearly = sim.sample_yearly(random_state=1)[0]
    source = total.sources[total.sources["class"] == "fsrq"][0]
    near = total.pixel_coords().separation(source["coord"]) < 1.5 * u.deg
    counts = np.array([sky.data[:, near].sum(axis=1) for sky in yearly])
    background = yearly[0].background[:, near].sum(axis=1)
    photons = (counts - background).sum(axis=0)
    varying = background + photons * (source["yearly_flux"] / source["yearly_flux"].sum()).value[:, None]
    steady = counts.mean(axis=0)
    limits = chi2.ppf([0.001, 0.999], 18)
    assert limits[0] < np.sum((counts - varying) ** 2 / varying) < limits[1]
    assert np.sum((counts - steady) ** 2 / steady) > 100 * limits[1]
    # elsewhere the sky is steady
    far = total.pixel_coords().separation(total.sources["coord"][:, None]).min(axis=0) > 20 * u.deg
    assert far.sum() > 500
    elsewhere = np.array([sky.data[:, far].sum(axis=1) for sky in yearly])
    assert limits[0] < np.sum((elsewhere - elsewhere.mean(axis=0)) ** 2 / elsewhere.mean(axis=0)) < limits[1]


def test_years_side_by_side():
    total, yearly = simulator(event_type=("FRONT", "BACK"), years=2).sample_yearly(random_state=6)[0]
    assert list(total) == list(yearly[0]) == list(yearly[1]) == ["FRONT", "BACK"]
    assert len(yearly) == 2
    for event_type in total:
        assert np.array_equal(sum(year[event_type].data for year in yearly), total[event_type].data)
        assert yearly[1][event_type].meta["event_type"] == event_type
    # one light curve, other photons
    assert np.array_equal(total["FRONT"].sources["yearly_flux"], total["BACK"].sources["yearly_flux"])
    assert not np.array_equal(total["FRONT"].sources["counts"], total["BACK"].sources["counts"])


@pytest.mark.parametrize(("time", "number"), [(0.4, 1), (1, 1), (1.6, 2), (3, 3)])
def test_number_of_years(time, number):
    sim = simulator(years=time, nside=8, background=False)
    total, yearly = sim.sample_yearly()[0]
    assert len(yearly) == number
    assert_allclose(yearly[-1].meta["years"], time / number)
    assert total.background is None
    assert yearly[0].background is None
    if number == 1:
        assert np.array_equal(yearly[0].data, total.data)
        assert_allclose(total.sources["yearly_flux"][:, 0].value, total.sources["flux"].value)


def test_seeds_of_years():
    sim = simulator(years=2, nside=16)
    first, second = sim.sample_yearly(2, random_state=7)
    again = simulator(years=2, nside=16).sample_yearly(2, random_state=7)
    for one, other in ((first, again[0]), (second, again[1])):
        assert np.array_equal(one[0].data, other[0].data)
        assert np.array_equal(one[1][1].data, other[1][1].data)
        assert np.array_equal(one[0].sources["yearly_flux"], other[0].sources["yearly_flux"])
    assert not np.array_equal(first[0].data, second[0].data)
    assert np.array_equal(sim.sample_yearly()[0][0].data, sim.sample_yearly()[0][0].data)
    assert not np.array_equal(sim.sample_yearly()[0][0].data, first[0].data)


@pytest.fixture
def coarse(monkeypatch):
    """Images interpolate the diffuse emission from coarser maps: quicker."""
    monkeypatch.setattr(simulation, "_IMAGE_NSIDE", 64)


@pytest.mark.usefixtures("coarse")
@pytest.mark.parametrize("projection", ["CAR", "TAN"])
def test_image(projection):
    sim = simulator(energy_edges=[10, 50, 2000] * u.GeV, perturb=None)
    image = sim.simulate_image(CENTRE, (40, 80), 0.25 * u.deg, projection=projection)
    assert isinstance(image, CCDData)
    assert image.data.shape == (2, 40, 80)
    assert image.unit == u.ct
    assert image.wcs.celestial.wcs.ctype[0] == f"GLON-{projection}"
    assert_allclose(image.meta["energy_edges"].to_value(u.GeV), [10, 50, 2000])
    assert image.meta["background"].shape == image.meta["exposure"].shape == image.data.shape
    assert image.meta["psf"].n_energy == 2
    truth = image.meta["sources"]
    assert np.all((truth["x"] > -0.5) & (truth["x"] < 79.5) & (truth["y"] > -0.5) & (truth["y"] < 39.5))
    back = image.wcs.pixel_to_world(truth["x"], truth["y"])
    assert np.all(back.separation(truth["coord"]) < 1 * u.arcsec)
    centre = image.wcs.pixel_to_world(39.5, 19.5)
    assert centre.separation(CENTRE) < 1 * u.arcsec
    expected = image.meta["background"].sum((1, 2)) + truth["counts"].sum(0)
    assert_allclose(image.data.sum((1, 2)), expected, rtol=0.1)


@pytest.mark.usefixtures("coarse")
def test_image_off_the_plane_and_map_agree():
    sim = simulator(perturb=None, population=None, nside=64)
    centre = SkyCoord(180, 50, unit="deg", frame="galactic")
    image = sim.simulate_image(centre, (100, 100), 0.2, projection="CAR")
    sky = sim.sample()[0]
    lon, lat = hp.pix2ang(64, np.arange(sky.n_pix), nest=True, lonlat=True)
    box = (np.abs(lat - 50) < 10) & (np.abs(lon - 180) < 10)
    density = sky.background[:, box].mean(1) / hp.nside2pixarea(64)
    area = 2 * np.deg2rad(10) * (np.sin(np.deg2rad(60)) - np.sin(np.deg2rad(40)))
    assert_allclose(image.meta["background"].sum((1, 2)), density * area, rtol=0.03)
    both = simulator(event_type=("FRONT", "BACK"), population=None).simulate_image(centre, (10, 10), 1.0)
    assert list(both) == ["FRONT", "BACK"]


def test_real_northern_sky(shared_data):
    """2-20 GeV UltracleanVeto PSF3 photons of 413 weeks: the total and the pixel-count histogram."""
    gamma = shared_data / "gamma"
    counts = np.asarray(Table.read(gamma / "fermi_lat_2-20gev_nside128_north.fits.gz", hdu=1)["counts"])
    lat = hp.pix2ang(128, np.arange(counts.size), lonlat=True)[1]
    north = (lat > 0) & (counts >= 0)
    sim = LATSkySimulator([2, 20] * u.GeV, nside=128, years=413 * 7 / 365.25, event_type="PSF3",
                          event_class="ULTRACLEANVETO", diffuse=gamma / "gll_iem_v07_allsky_lowres.fits.gz",
                          perturb=None)
    skies = [s.to_order(False).data[0][north] for s in sim.sample(3, random_state=1)]
    assert_allclose(np.mean([s.sum() for s in skies]), counts[north].sum(), rtol=0.1)
    edges = np.r_[np.arange(11), 15, 20, 30, 50, 100, 1e6]
    real = np.histogram(counts[north], edges)[0]
    ours = np.mean([np.histogram(s, edges)[0] for s in skies], axis=0)
    assert_allclose(ours, real, rtol=0.2)
    for q in (25, 50, 75, 90, 95, 99):
        assert_allclose(np.percentile(skies[0], q), np.percentile(counts[north], q), rtol=0.1, atol=1)


def test_real_photons_above_50_gev(shared_data):
    events = Table.read(shared_data / "gamma/fermi_lat_50gev_events_north.fits.gz", hdu=1)
    sim = simulator(energy_edges=[50, 2000] * u.GeV, nside=64, years=80 / 12, event_type="FRONT+BACK", perturb=None,
                    diffuse=shared_data / "gamma/gll_iem_v07_allsky_lowres.fits.gz",
                    population=SourcePopulation(flux_min=5e-11))
    lat = hp.pix2ang(64, np.arange(hp.nside2npix(64)), nest=True, lonlat=True)[1]
    north = 0.5 + 0.5 * np.sign(lat)  # the pixels on the equator lie half in the north
    assert_allclose(sim.sample()[0].data[0] @ north, len(events), rtol=0.1)


def test_bad_input():
    with pytest.raises(u.UnitConversionError, match="deg"):
        LATSkySimulator([1, 2] * u.deg)
    with pytest.raises(ValueError, match="range of the response"):
        LATSkySimulator([0.01, 2] * u.GeV)
    with pytest.raises(ValueError, match="nside must be a power of two"):
        LATSkySimulator(nside=100)
    with pytest.raises(ValueError, match="years must be positive"):
        LATSkySimulator(years=0)
    with pytest.raises(ValueError, match="unknown event type 'SIDE'"):
        LATSkySimulator(event_type=("FRONT", "SIDE"))
    with pytest.raises(ValueError, match="unknown event class"):
        LATSkySimulator(event_class="TRANSIENT")
    with pytest.raises(OSError, match="nothing"):
        LATSkySimulator(diffuse="nothing.fits")
    sim = simulator()
    with pytest.raises(ValueError, match="projection"):
        sim.simulate_image(CENTRE, (10, 10), projection="SIN")
    with pytest.raises(ValueError, match="rows, columns"):
        sim.simulate_image(CENTRE, (10,))
    with pytest.raises(u.UnitConversionError):
        sim.simulate_image(CENTRE, (10, 10), 1 * u.GeV)
