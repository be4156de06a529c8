"""Random catalogues: numbers, fluxes, clustering and shapes, and what stands in for faint sources."""

import astropy.units as u
import numpy as np
import pytest
from scipy import stats

from astrolearn.counts import CountModel, ReferenceCounts, draw_catalogue
from astrolearn.counts.catalogues import (
    Sources,
    clustered_density,
    draw_fluxes,
    draw_positions,
    draw_shapes,
    equal_sources,
    read_catalogue,
)

COUNTS = ReferenceCounts(frequency="944 MHz")


def field(**options):
    defaults = {"n_pixels": 1000, "pixel_scale": 5, "frequency": "944 MHz", "clustering": None}
    return draw_catalogue(COUNTS, **{**defaults, **options})


def test_numbers_are_those_of_the_counts():
    table = field(random_state=0)
    area = (5000 * u.arcsec) ** 2
    expected = (COUNTS.number(1e-5, 1) * area).to_value(u.one)
    assert abs(len(table) - expected) < 4 * np.sqrt(expected)
    edges = 10 ** np.array([-5, -4.5, -4, -3.5, -3, -2])
    found, _ = np.histogram(table["S"].to_value(u.Jy), edges)
    expected = (COUNTS.number(edges[:-1], edges[1:]) * area).to_value(u.one)
    assert (np.abs(found - expected) < 4 * np.sqrt(expected)).all()
    for name in ("x", "y"):
        assert stats.kstest((table[name] + 0.5) / 1000, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(("low", "high"), [(10**-7.5, 1), (2e-5, 3e-5), (0.5, 300)])
def test_fluxes_follow_the_counts(low, high):
    flux = draw_fluxes(COUNTS, 50000, low, high, np.random.default_rng(1))
    assert low <= flux.min() <= flux.max() <= high

    def share(x):
        return COUNTS.moment(0, low, np.maximum(x, low * (1 + 1e-9))) / COUNTS.moment(0, low, high)

    assert stats.kstest(flux, share).pvalue > 1e-3
    # in random order: the first half is like the second
    assert stats.ks_2samp(flux[:25000], flux[25000:]).pvalue > 1e-3


def test_fluxes_of_slope_minus_one_are_log_uniform():
    flux = draw_fluxes(CountModel([1e-6, 1e-3], [1e9, 1e6]), 20000, 1e-6, 1e-3, np.random.default_rng(0))
    assert stats.kstest(np.log10(flux), stats.uniform(-6, 3).cdf).pvalue > 1e-3


def test_equal_sources_have_the_cumulants_of_those_they_stand_for():
    low, high, pixel = 1e-7, 5e-6, 6e-10
    number, flux, level = equal_sources(COUNTS, low, high)
    assert low < flux < high
    assert level > 0
    assert number < COUNTS.moment(0, low, high) / 5
    rng = np.random.default_rng(2)
    n = rng.poisson(pixel * COUNTS.moment(0, low, high), 400000)
    exact = np.add.reduceat(np.append(draw_fluxes(COUNTS, n.sum(), low, high, rng), 0), np.cumsum(n) - n)
    exact[n == 0] = 0
    stand_in = pixel * level + flux * rng.poisson(pixel * number, 400000)
    assert stand_in.mean() == pytest.approx(exact.mean(), rel=0.01)
    assert stand_in.var() == pytest.approx(exact.var(), rel=0.02)
    assert stats.skew(stand_in) == pytest.approx(stats.skew(exact), rel=0.04)


def test_clustered_density():
    rng = np.random.default_rng(3)
    products, means = [], []
    for _ in range(40):
        density = clustered_density(600, 6.0, 1e-3, rng).astype(float)
        assert density.shape == (200, 200)
        assert density.min() > 0
        means.append(density.mean())
        products.append([((density[:, :-lag] - 1) * (density[:, lag:] - 1)).mean() for lag in (1, 2, 5, 15)])
    assert np.mean(means) == pytest.approx(1, abs=0.03)
    expected = 1e-3 * (np.array([1, 2, 5, 15]) * 18 / 3600) ** -0.8
    np.testing.assert_allclose(np.mean(products, axis=0), expected, rtol=0.12, atol=2e-3)


def test_borders_of_the_density_do_not_meet():
    rng = np.random.default_rng(4)
    opposite = [(np.diff(np.log(clustered_density(300, 6.0, 0.01, rng))[:, [0, -1]]) ** 2).mean() for _ in range(20)]
    near = [(np.diff(np.log(clustered_density(300, 6.0, 0.01, rng))[:, :2]) ** 2).mean() for _ in range(20)]
    assert np.mean(opposite) > 1.3 * np.mean(near)


def test_positions_follow_the_density():
    rng = np.random.default_rng(5)
    density = np.array([[1, 2], [3, 0]], np.float32)
    x, y = draw_positions(1000.0, 5, density, rng)
    # cells of 3 pixels, the last of which reach out of a field of 5
    assert max(x.max(), y.max()) < 4.5
    assert min(x.min(), y.min()) >= -0.5
    found = np.histogram2d(y, x, bins=[[-0.5, 2.5, 4.5]] * 2)[0]
    expected = 1000 * density * [[9, 6], [6, 4]]
    assert (np.abs(found - expected) <= 4 * np.sqrt(expected)).all()


def test_clustered_catalogues_have_excess_variance():
    counts_in_cells = []
    for clustering in (None, 3e-3):
        table = field(clustering=clustering, morphology="points", flux_range=(1e-5, 1), random_state=6)
        cells = np.histogram2d(table["y"], table["x"], bins=50, range=[[-0.5, 999.5]] * 2)[0]
        counts_in_cells.append(cells.var() / cells.mean())
    assert counts_in_cells[0] == pytest.approx(1, abs=0.1)
    # mean number per cell of 100 arcsec, times w averaged over it (2.25 is the mean of d^-0.8 in a square of side 1)
    expected = 1 + cells.mean() * 3e-3 * 2.25 * (100 / 3600) ** -0.8
    assert counts_in_cells[1] == pytest.approx(expected, abs=0.4 * (expected - 1))


def test_shapes():
    table = field(n_pixels=2000, flux_range=(1e-5, 1e-2), morphology="mixed", random_state=7)
    faint = table["S"] < 30 * u.uJy
    assert (table["kind"][faint] == "point").all()
    assert (table["size"][faint] == 0).all()
    assert (table["kind"][~faint] != "point").all()
    double = table["kind"] == "double"
    disc = table["kind"] == "disc"
    assert double[table["S"] > 4 * u.mJy].all()
    bin_ = (table["S"] > 80 * u.uJy) & (table["S"] < 200 * u.uJy)
    assert double[bin_].mean() == pytest.approx(0.2, abs=0.07)
    assert np.median(table["size"][disc]).to_value(u.arcsec) == pytest.approx(0.7, rel=0.05)
    # Windhorst et al. (1990): 2 arcsec S_1.4^0.3
    bin_ = double & (table["S"] > 0.5 * u.mJy) & (table["S"] < 2 * u.mJy)
    expected = 2 * (np.median(table["S"][bin_]).to_value(u.mJy) * (1.4 / 0.944) ** -0.7) ** 0.3
    assert np.median(table["size"][bin_]).to_value(u.arcsec) == pytest.approx(expected, rel=0.2)
    assert 0.3 <= table["ratio"][double].min() <= table["ratio"][double].max() <= 0.7
    assert (field(morphology="points", random_state=7)["kind"] == "point").all()


def moments(x, y, flux):
    mean = np.array([flux @ x, flux @ y]) / flux.sum()
    return mean, np.cov(np.stack([x, y]), aweights=flux, ddof=0)


def test_points_of_a_disc():
    source = Sources(*(np.array([value]) for value in (3.0, 4.0, 2.0, False, 1.678, 0.5, 0.0)))
    x, y, flux = source.points()
    assert flux.sum() == pytest.approx(2)
    mean, covariance = moments(x, y, flux)
    np.testing.assert_allclose(mean, [3, 4])
    # an exponential disc of scale length 1: variance 3 along the major axis, which points north
    np.testing.assert_allclose(covariance, [[3 / 4, 0], [0, 3]], atol=1e-12)
    rng = np.random.default_rng(8)
    radius, angle = rng.gamma(2, 1, 200000), rng.uniform(0, 2 * np.pi, 200000)
    np.testing.assert_allclose(np.var(radius * np.cos(angle)), 3, rtol=0.02)
    assert np.median(radius) == pytest.approx(1.678, rel=0.01)


def test_points_of_a_double():
    # position angles run from north to east, which is to the left
    source = Sources(*(np.array([value]) for value in (0.0, 0.0, 1.0, True, 10.0, 0.6, np.pi / 4)))
    x, y, flux = source.points()
    first = x < 0
    assert flux[first].sum() == pytest.approx(0.6)
    mean, covariance = moments(x[first], y[first], flux[first])
    np.testing.assert_allclose(mean, 3.5 * np.sqrt(0.5) * np.array([-1, 1]))
    np.testing.assert_allclose(covariance, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(
        moments(x[~first], y[~first], flux[~first])[0], 3.5 * np.sqrt(0.5) * np.array([1, -1])
    )


def test_light_is_conserved():
    rng = np.random.default_rng(9)
    flux = draw_fluxes(COUNTS, 3000, 1e-6, 1e-1, rng)
    sources = draw_shapes(*rng.uniform(0, 100, (2, 3000)), flux, 5.0, 0.944, rng)
    x, _, light = sources.points()
    assert light.sum() == pytest.approx(flux.sum())
    n_double, n_point = sources.double.sum(), (sources.size == 0).sum()
    assert 0 < n_double < 3000 - n_point
    assert len(light) == n_point + 8 * n_double + 4 * (3000 - n_point - n_double)
    # the centre of light is that of the sources, but for the unequal lobes of doubles
    shift = -0.7 * (sources.ratio - 0.5) * sources.size * np.sin(sources.angle)
    np.testing.assert_allclose(light @ x, flux @ (sources.x + sources.double * shift))


def test_tables_and_sources():
    table = field(flux_range=(2e-5, 1), random_state=10)
    assert table["S"].unit == u.Jy
    assert table["size"].unit == u.arcsec
    sources = read_catalogue(table, 5.0)
    np.testing.assert_allclose(sources.size * 5, table["size"].value)
    np.testing.assert_allclose(np.rad2deg(sources.angle), table["pa"].value)
    np.testing.assert_array_equal(sources.double, table["kind"] == "double")
    plain = read_catalogue(table["x", "y", "S"], 5.0)
    assert (plain.size == 0).all()
    assert len(read_catalogue(table[:0], 5.0).x) == 0
    with pytest.raises(ValueError, match="no column S"):
        read_catalogue(table["x", "y"], 5.0)


def test_seeds():
    one, same, other = (field(clustering=1e-3, random_state=seed) for seed in (0, 0, 1))
    assert one.colnames == same.colnames
    assert all((one[name] == same[name]).all() for name in one.colnames)
    assert len(one) != len(other) or (one["x"] != other["x"]).any()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"flux_range": (1, 0.1)}, ValueError, "flux_range"),
        ({"flux_range": 1e-5}, ValueError, "flux_range"),
        ({"flux_range": (1, 2) * u.K}, u.UnitConversionError, "flux_range"),
        ({"clustering": -1}, ValueError, "clustering"),
        ({"morphology": "blobs"}, ValueError, "'blobs' is neither"),
        ({"pixel_scale": 0}, ValueError, "must be positive"),
        ({"frequency": "1 s"}, u.UnitConversionError, "frequency"),
    ],
)
def test_bad_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        field(**options)
