import time

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from astrolearn.sky import match, source_coords


def random_sky(n, rng, frame="galactic"):
    return SkyCoord(rng.uniform(0, 360, n), np.rad2deg(np.arcsin(rng.uniform(-1, 1, n))), unit="deg", frame=frame)


def moved(coord, distance, rng):
    return coord.directional_offset_by(rng.uniform(0, 360, len(coord)) * u.deg, distance)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_pairs(rng):
    truth = random_sky(200, rng)
    order = rng.permutation(150)
    detections = moved(truth[order], 0.1 * u.deg, rng).icrs
    result = match(detections, truth, 0.2 * u.deg)
    np.testing.assert_array_equal(order[result.catalogue_index], result.reference_index)
    np.testing.assert_allclose(result.separation.to_value(u.deg), 0.1, rtol=1e-6)
    assert (result.purity, result.completeness) == (1, 0.75)
    assert result.f1 == pytest.approx(2 * 0.75 / 1.75)
    assert result.matched.all()
    assert result.found.sum() == 150


def brute_force(first, second, radius):
    """One-to-one pairs, closest first."""
    separation = np.hypot(*(first[:, None] - second[None]).transpose(2, 0, 1))
    pairs = []
    while separation.size and separation.min() <= radius:
        pair = np.unravel_index(separation.argmin(), separation.shape)
        pairs.append(pair)
        separation[pair[0]] = separation[:, pair[1]] = np.inf
    return pairs


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.floats(0.05, 3), st.integers(0, 2**31))
def test_greedy_against_brute_force(n_first, n_second, radius, seed):
    rng = np.random.default_rng(seed)
    first, second = rng.random((n_first, 2)), rng.random((n_second, 2))
    result = match({"x_centroid": first[:, 0], "y_centroid": first[:, 1]},
                   Table({"x": second[:, 0], "y": second[:, 1]}), radius)
    pairs = list(zip(result.catalogue_index, result.reference_index, strict=True))
    assert pairs == brute_force(first, second, radius)
    assert result.separation.unit == u.pix
    assert np.all(np.diff(result.separation) >= 0)


def test_pixels_and_sky_give_the_same(rng):
    truth, found = rng.uniform(-1, 1, (2, 100, 2))
    flat = match({"x": found[:, 0], "y": found[:, 1]}, {"x": truth[:, 0], "y": truth[:, 1]}, 0.1 * u.pix)
    sky = match(SkyCoord(*found.T, unit="deg"), SkyCoord(*truth.T, unit="deg"), "6 arcmin")
    np.testing.assert_array_equal(flat.catalogue_index, sky.catalogue_index)
    np.testing.assert_array_equal(flat.reference_index, sky.reference_index)


def test_chance_rate_is_the_analytic_one(rng):
    truth = random_sky(5000, rng)
    radius = 0.5 * u.deg
    expected = 1 - np.exp(-5000 / (4 * np.pi) * np.pi * radius.to_value(u.rad) ** 2)
    # few detections beside many sources, all of them true
    result = match(moved(truth[:400], 0.05 * u.deg, rng), truth, radius, n_shifts=16)
    assert abs(result.chance_rate - expected) < 4 * result.chance_rate_error
    # binomial: 400 x 16 trials
    assert result.chance_rate_error == pytest.approx(np.sqrt(expected * (1 - expected) / 6400), rel=0.6)
    assert result.purity == result.purity_corrected == 1
    # a random catalogue has nothing but chance matches
    result = match(random_sky(5000, rng), truth, radius)
    assert abs(result.purity_corrected) < 0.02
    assert result.purity == pytest.approx(result.chance_rate, abs=0.02)


def test_chance_rate_keeps_the_latitude(rng):
    """On a sky whose sources crowd the plane, detections in the plane match by chance more often."""
    latitude = np.concatenate([rng.normal(0, 2, 3000), rng.uniform(-60, 60, 500)])
    truth = SkyCoord(rng.uniform(0, 360, 3500), latitude, unit="deg", frame="galactic")
    low = truth[np.abs(truth.b.deg) < 1]
    high = truth[np.abs(truth.b.deg) > 30]
    assert match(low, truth, 0.3 * u.deg).chance_rate > 10 * match(high, truth, 0.3 * u.deg).chance_rate


def test_shifts_leave_the_sources_behind_at_the_poles():
    truth = SkyCoord(np.arange(0, 360, 40), 88.6, unit="deg", frame="galactic")
    assert match(truth, truth, 0.3 * u.deg).chance_rate < 0.3
    assert match(truth.icrs, truth, 0.3 * u.deg).purity == 1


def test_chance_rate_in_images(rng):
    truth = {"x": rng.uniform(0, 1000, 2000), "y": rng.uniform(0, 500, 2000)}
    found = {"x_centroid": truth["x"][:500], "y_centroid": truth["y"][:500]}
    result = match(found, truth, 3, n_shifts=20)
    expected = 1 - np.exp(-2000 / 5e5 * np.pi * 9)
    assert result.purity == 1
    assert abs(result.chance_rate - expected) < 4 * result.chance_rate_error


def test_intervals():
    truth = SkyCoord(np.arange(10) * 10, 0, unit="deg")
    found = SkyCoord(np.append(np.arange(6) * 10, [5, 15]), 0, unit="deg")
    result = match(found, truth, 0.1)
    # Wilson's interval for 6 of 8 with one standard deviation
    centre, half = (0.75 + 1 / 16) / (1 + 1 / 8), np.sqrt(0.75 * 0.25 / 8 + 1 / 256) / (1 + 1 / 8)
    np.testing.assert_allclose(result.purity_interval, [centre - half, centre + half], rtol=1e-3)
    low, high = result.completeness_interval
    assert low < 0.6 < high
    assert "6 of 8 detections match 10 sources" in str(result)


def test_by_quantities(rng):
    truth = QTable({"coord": random_sky(2000, rng), "flux": 10 ** rng.uniform(-11, -8, 2000) / u.cm**2 / u.s})
    bright = truth["flux"] > 1e-10 / u.cm**2 / u.s
    found = QTable(truth[bright])
    found["coord"] = moved(found["coord"], 0.05 * u.deg, rng)
    found["significance"] = rng.uniform(4, 50, len(found))
    result = match(found, truth, 0.2)
    by_flux = result.by("flux", [1e-7, 1e-6, 1e-5, 1e-4] / u.m**2 / u.s)
    np.testing.assert_array_equal(by_flux["completeness"], [0, 1, 1])
    np.testing.assert_array_equal(by_flux["n_detected"], by_flux["n_matched"])
    assert by_flux["n_reference"].sum() == 2000
    assert np.isnan(by_flux["purity"][0])
    assert (by_flux["purity_low"][0], by_flux["purity_high"][0]) == (0, 1)
    assert by_flux["low"].unit == 1 / u.m**2 / u.s
    assert result.by("flux", [1e-11, 1e-8])["low"].unit == 1 / u.cm**2 / u.s  # that of the column

    by_significance = result.by("significance", [4, 10, 50])
    assert "completeness" not in by_significance.colnames
    assert by_significance["n_detected"].sum() == bright.sum()
    by_latitude = result.by("latitude", [0, 30, 90])
    assert by_latitude["low"].unit == u.deg
    assert by_latitude["n_reference"][0] == np.sum(np.abs(truth["coord"].b.deg) < 30)

    truth.rename_column("flux", "Flux1000")
    truth["Flux1000"] = truth["Flux1000"] * u.ph  # as in the Fermi catalogues
    renamed = match(found, truth, 0.2).by("flux", [1e-11, 1e-10, 1e-8] / u.cm**2 / u.s, reference_quantity="Flux1000")
    np.testing.assert_array_equal(renamed["completeness"], [0, 1])


def test_masked_values_are_in_no_bin():
    found = Table({"coord": SkyCoord([1, 2], [3, 4], unit="deg")}, masked=True)
    found["snr"] = np.ma.array([5.0, 6.0], mask=[False, True])
    assert match(found, found["coord"], 0.1).by("snr", [0, 10])["n_detected"].tolist() == [1]


def test_bad_quantities(rng):
    truth = QTable({"coord": random_sky(5, rng), "flux": np.ones(5) * u.Jy})
    result = match(truth, truth, 0.1)
    with pytest.raises(ValueError, match="no column 'colour'; the catalogue has coord, flux"):
        result.by("colour", [1, 2])
    with pytest.raises(ValueError, match="increasing"):
        result.by("flux", [2, 1])
    with pytest.raises(u.UnitConversionError, match="column flux has the unit 'Jy'"):
        result.by("flux", [1, 2] * u.s)
    with pytest.raises(ValueError, match="no column 'score'"):
        result.curve("score")
    for score in (np.ones(4), np.full(5, np.nan)):
        with pytest.raises(ValueError, match="a finite score for each of the 5 detections"):
            result.curve(score)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 2**31))
def test_average_precision_is_that_of_scikit_learn(n_true, n_false, seed):
    """Where everything is found and nothing close together, each detection has its own label."""
    rng = np.random.default_rng(seed)
    truth = SkyCoord(np.arange(n_true), 0, unit="deg")
    found = SkyCoord(np.arange(n_true + n_false), 0, unit="deg")
    score = rng.integers(0, 10, n_true + n_false) / 10  # with ties
    label = np.arange(n_true + n_false) < n_true
    result = match(found, truth, 0.1)
    assert result.average_precision(score) == pytest.approx(average_precision_score(label, score))
    curve = result.curve(score)
    for row in curve:
        above = score >= row["threshold"]
        assert row["purity"] == pytest.approx(label[above].mean())
        assert row["completeness"] == pytest.approx(label[above].sum() / n_true)
    best = max((row["completeness"] for row in curve if row["purity"] >= 0.8), default=0)
    assert result.completeness_at_purity(score, 0.8) == best


def test_surer_detections_choose_first():
    """Two detections share a source: the surer one gets it, though the other is closer."""
    truth = SkyCoord([10, 50], [0, 0], unit="deg")
    found = Table({"coord": SkyCoord([10.2, 10.1, 30], [0, 0, 0], unit="deg"), "score": [0.9, 0.5, 0.7]})
    result = match(found, truth, 0.3)
    assert result.matched.tolist() == [False, True, False]
    curve = result.curve("score")
    np.testing.assert_allclose(curve["purity"], [1, 1 / 2, 1 / 3])
    np.testing.assert_allclose(curve["completeness"], [0.5, 0.5, 0.5])
    assert result.average_precision("score") == 0.5
    assert result.completeness_at_purity("score") == 0.5
    assert result.completeness_at_purity([0.5, 0.6, 0.9]) == 0


def test_ignored_sources():
    truth = SkyCoord([10, 20], [0, 0], unit="deg")
    other = SkyCoord([10, 30], [0, 0], unit="deg")
    found = SkyCoord([10, 30.2, 40], [0, 0, 0], unit="deg")
    result = match(found, truth, 0.1, ignore=other, ignore_radius=0.3 * u.deg)
    assert result.ignored.tolist() == [False, True, False]
    assert result.purity == 0.5
    assert result.completeness == 0.5
    assert result.f1 == 0.5
    curve = result.curve([0.5, 0.9, 0.1])
    np.testing.assert_allclose(curve["purity"], [1, 1, 0.5])
    assert result.by("latitude", [0, 90])["n_detected"][0] == 2
    assert match(found, truth, 0.1, ignore=other).ignored.sum() == 0


def test_nothing_detected_or_nothing_there(rng):
    some, none = random_sky(3, rng), random_sky(0, rng)
    empty = match(none, some, 1 * u.deg)
    assert np.isnan(empty.purity)
    assert np.isnan(empty.purity_corrected)
    assert (empty.completeness, empty.chance_rate) == (0, 0)
    assert empty.average_precision(np.zeros(0)) == 0
    assert empty.completeness_at_purity(np.zeros(0)) == 0
    assert len(empty.by("latitude", [0, 90])) == 1
    blank = match(some, none, 1 * u.deg)
    assert blank.purity == 0
    assert np.isnan(blank.completeness)
    assert np.isnan(match(none, none, 1).f1)
    assert "0 of 0" in str(match(none, none, 1))


@pytest.mark.parametrize("columns", [("GLON", "GLAT"), ("L", "B"), ("RAJ2000", "DEJ2000"), ("RA", "DEC"),
                                     ("ra", "dec")])
@pytest.mark.parametrize("unit", [None, u.deg])
def test_positions_of_catalogues(columns, unit):
    table = Table({columns[0]: [10.0], columns[1]: [20.0]})
    for name in columns:
        table[name].unit = unit
    coord = source_coords(table)
    assert coord.frame.name == ("galactic" if columns[0] in ("GLON", "L") else "icrs")
    np.testing.assert_allclose([coord.spherical.lon.deg, coord.spherical.lat.deg], [[10], [20]])
    assert match(table, coord, 1).purity == 1


def test_bad_arguments(rng):
    some = random_sky(3, rng)
    with pytest.raises(ValueError, match="must be positive"):
        match(some, some, 0 * u.deg)
    with pytest.raises(u.UnitConversionError, match="radius"):
        match(some, some, 1 * u.pix)
    with pytest.raises(ValueError, match="n_shifts=1"):
        match(some, some, 1, n_shifts=1)
    with pytest.raises(ValueError, match="no positions.*has a"):
        match(Table({"a": [1]}), some, 1)
    with pytest.raises(ValueError, match="no positions.*has a"):
        source_coords(Table({"a": [1]}))


def test_large_catalogues_take_a_second(rng):
    truth, found = random_sky(10_000, rng), random_sky(10_000, rng)
    start = time.process_time()
    result = match(found, truth, 0.5 * u.deg)
    result.average_precision(rng.random(10_000))
    assert time.process_time() - start < 2  # 0.3 s on an idle machine


def test_real_catalogues(shared_data):
    gamma = shared_data / "gamma"
    second, fourth = (Table.read(gamma / f"{name}_north.fits.gz", unit_parse_strict="silent")
                      for name in ("2fhl", "4fgl_dr2"))
    result = match(second, fourth, 0.3 * u.deg)
    assert result.purity_corrected > 0.9
    assert 0.03 < result.chance_rate < 0.08
    brightness = result.by("Flux1000", [0, 1e-9, 1e-7] * u.ph / u.cm**2 / u.s)
    assert brightness["completeness"][1] > 5 * brightness["completeness"][0]
