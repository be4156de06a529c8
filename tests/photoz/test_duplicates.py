"""The same object twice, however it may be recognised."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table
from sklearn.model_selection import GroupKFold

from astrolearn.photoz import DuplicateWarning, check_duplicates, object_groups

RNG = np.random.default_rng(0)
N = 40
MAGNITUDES = RNG.normal(18, 1, (N, 3))
Z = RNG.uniform(0, 0.3, N)
COORD = SkyCoord(RNG.uniform(0, 360, N), RNG.uniform(-60, 60, N), unit="deg")
TWICE = np.r_[np.arange(N), 3, 7]  # two objects stand there again


def test_nothing_to_find():
    assert not check_duplicates(MAGNITUDES, Z, coord=COORD, ids=np.arange(N)).any()
    assert len(set(object_groups(MAGNITUDES))) == N


@pytest.mark.parametrize(("arguments", "by"), [
    ({"X": MAGNITUDES[TWICE]}, "equal rows"),
    ({"X": RNG.normal(size=(N + 2, 3)), "ids": np.arange(10**18, 10**18 + N)[TWICE]}, "identifier"),
    ({"X": RNG.normal(size=(N + 2, 3)), "coord": COORD[TWICE].directional_offset_by(1 * u.rad, 1 * u.arcsec)},
     "position"),
    ({"X": RNG.integers(0, 255, (N, 3, 8, 8))[TWICE].astype(np.uint8)}, "equal pixels"),
])  # fmt: skip
def test_how_doubles_are_recognised(arguments, by):
    with pytest.warns(DuplicateWarning, match=rf"4 of 42 rows are .* more than once, recognised by {by} \(4\)"):
        found = check_duplicates(**arguments)
    np.testing.assert_array_equal(np.flatnonzero(found), [3, 7, 40, 41])


def test_positions_within_the_radius():
    near = SkyCoord([10, 10] * u.deg, [0, 3 / 3600] * u.deg)
    assert not check_duplicates(MAGNITUDES[:2], coord=near).any()
    with pytest.warns(DuplicateWarning, match="position"):
        check_duplicates(MAGNITUDES[:2], coord=near, radius="5 arcsec")


def test_training_and_test():
    test = np.zeros(N + 2, bool)
    test[[3, 7, 40, 41]] = True  # each object on one side: in order
    assert not check_duplicates(MAGNITUDES[TWICE], test=test).any()
    test[3] = False
    with pytest.warns(DuplicateWarning, match="2 of 42 rows .* in training and test"):
        found = check_duplicates(MAGNITUDES[TWICE], test=test)
    np.testing.assert_array_equal(np.flatnonzero(found), [3, 40])


def test_groups_that_keep_objects_together():
    groups = object_groups(MAGNITUDES[TWICE])
    assert not check_duplicates(MAGNITUDES[TWICE], groups=groups).any()
    for training, test in GroupKFold(4).split(MAGNITUDES[TWICE], groups=groups):
        held_out = np.isin(np.arange(N + 2), test)
        assert len(training) + len(test) == N + 2
        assert not check_duplicates(MAGNITUDES[TWICE], test=held_out).any()


def test_objects_that_are_connected_by_different_signs():
    ids = np.array([1, 2, 2, 3])
    rows = np.array([[1.0], [1.0], [2.0], [3.0]])
    assert len(set(object_groups(rows, ids=ids)[:3])) == 1
    assert object_groups(rows, ids=ids)[3] != object_groups(rows, ids=ids)[0]


def test_the_tale_of_the_talk():
    # 400 rows, the same 50 galaxies with new noise on the pixels: only the targets give them away
    rows = np.tile(np.arange(50), 8)
    z = RNG.uniform(0.04, 0.76, 50).round(5)[rows]
    with pytest.warns(DuplicateWarning, match=r"400 of 400 .* by target \(400\)"):
        check_duplicates(RNG.normal(size=(400, 3, 8, 8)), z)
    # a hundred galaxies among a thousand that share a redshift by chance are no proof
    assert not check_duplicates(RNG.normal(size=(1000, 3)), np.r_[np.arange(900), np.arange(100)] / 1000).any()


@pytest.mark.parametrize(("n_galaxies", "n_copies"), [(220, 36), (100, 80), (50, 160), (10, 400), (2, 50)])
def test_the_more_copies_the_surer(n_galaxies, n_copies):
    rows = np.tile(np.arange(n_galaxies), n_copies)
    z = np.random.default_rng(1).uniform(0.04, 0.76, n_galaxies).round(5)[rows]
    with pytest.warns(DuplicateWarning, match=rf"by target \({len(rows)}\)"):
        check_duplicates(RNG.normal(size=(len(rows), 2)), z)


def test_redshifts_that_repeat_because_they_are_rounded():
    assert not check_duplicates(RNG.normal(size=(3000, 2)), RNG.uniform(0, 0.3, 3000).round(3)).any()
    assert not check_duplicates(RNG.normal(size=(60000, 2)), RNG.normal(0.1, 0.03, 60000).round(5)).any()


def test_what_is_no_identifier():
    ids = np.where(np.arange(N) < 30, 0, np.arange(N))
    assert not check_duplicates(MAGNITUDES, ids=ids).any()
    assert len(set(object_groups(MAGNITUDES, ids=np.ma.MaskedArray(np.full(N, 7), mask=np.arange(N) > 0)))) == N


def test_tables_of_other_kinds():
    rows = np.zeros(N + 2, dtype=[("g", float), ("fluxes", float, 3)])
    rows["g"], rows["fluxes"] = np.arange(N)[TWICE], MAGNITUDES[TWICE]
    with pytest.warns(DuplicateWarning, match=r"equal rows \(4\)"):
        check_duplicates(rows)


def test_tables_bring_their_own_signs():
    table = QTable({"objID": np.arange(N)[TWICE], "g": RNG.normal(size=N + 2) * u.mag, "coord": COORD[TWICE]})
    with pytest.warns(DuplicateWarning, match=r"objID \(4\), position \(4\)"):
        check_duplicates(table)


def test_columns_that_count_the_rows_hide_nothing():
    table = QTable({"row": np.arange(N + 2), "g": MAGNITUDES[TWICE, 0] * u.mag})
    with pytest.warns(DuplicateWarning, match=r"equal rows \(4\)"):
        check_duplicates(table)
    # integers that describe a galaxy, and in which two differ, do count
    table["n_stars"] = np.arange(N + 2) // 2
    assert not check_duplicates(table).any()
    few = QTable({"counts": np.arange(20) ** 2, "kind": np.arange(20) % 3})
    assert not check_duplicates(few).any()
    assert not check_duplicates(QTable({"row": np.arange(4), "g": np.full(4, np.nan) * u.mag})).any()


def test_positions_without_a_column_of_coordinates():
    shifted = COORD[TWICE].directional_offset_by(1 * u.rad, 0.5 * u.arcsec)
    table = QTable({"RA": shifted.ra.deg, "DEC": shifted.dec.deg, "g": MAGNITUDES[TWICE, 0] * u.mag})
    with pytest.warns(DuplicateWarning, match=r"position \(4\), equal rows \(4\)|equal rows \(4\), position \(4\)"):
        check_duplicates(table)


def test_positions_that_are_none():
    ra, dec = np.array([10.0, 10.0, np.nan, np.nan, 0.0, 0.0, -9999.0, -9999.0]), np.zeros(8)
    dec[6:] = -9999.0
    masked = np.arange(8) // 2 == 2
    table = Table({"ra": MaskedColumn(ra, mask=masked), "dec": MaskedColumn(dec, mask=masked)})
    for each in (table, QTable(table)):
        with pytest.warns(DuplicateWarning, match=r"2 of 8 rows .* recognised by position \(2\)"):
            found = check_duplicates(each)
        np.testing.assert_array_equal(np.flatnonzero(found), [0, 1])
    text = QTable({"ra": ["10:00:00", "10:00:00"], "dec": ["+01:00:00", "+01:00:00"], "g": [17.0, 18.0]})
    assert not check_duplicates(text).any()


def test_bad_input():
    with pytest.raises(ValueError, match="differ in length"):
        check_duplicates(MAGNITUDES, Z[:3])
    with pytest.raises(ValueError, match=r"test has the shape \(3,\)"):
        check_duplicates(MAGNITUDES, test=[True, False, True])
    with pytest.raises(ValueError, match="not both"):
        check_duplicates(MAGNITUDES, groups=np.arange(N), test=np.arange(N) < 3)
    with pytest.raises(ValueError, match="nothing by which"):
        check_duplicates(QTable({"name": ["a", "b"]}))
