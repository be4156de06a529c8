import copy
import os
import pickle

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table, vstack
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, train_test_split
from sklearn.utils import _safe_indexing

from astrolearn.core.tables import SampleTable, atomic_write


@pytest.fixture
def table():
    return SampleTable(
        {
            "coord": SkyCoord([1, 2, 3, 4] * u.deg, [5, 6, 7, 8] * u.deg),
            "flux": [1.0, 2.0, 3.0, 4.0] * u.Jy,
            "n": [1, 2, 3, 4],
        },
        meta={"author": "me"},
    )


class MeanFlux(RegressorMixin, BaseEstimator):
    def __init__(self, *, offset=0):
        self.offset = offset

    def fit(self, X, y):
        assert isinstance(X, SampleTable)
        self.mean_ = np.mean(y)
        return self

    def predict(self, X):
        return X["flux"].to_value(u.Jy) + self.offset


def test_plain_table_cannot_be_split(table):
    with pytest.raises(AttributeError, match="take"):
        _safe_indexing(QTable(table), np.array([0]))


def test_take(table):
    rows = table.take([2, 0])
    assert isinstance(rows, SampleTable)
    assert_array_equal(rows["flux"], [3, 1] * u.Jy)
    assert_array_equal(rows["coord"].ra, [3, 1] * u.deg)
    assert rows.meta == {"author": "me"}
    assert len(table.take([])) == 0


def test_take_selects_rows_only(table):
    with pytest.raises(ValueError, match="axis=1"):
        table.take([0], axis=1)


def test_sklearn_splits(table):
    y = np.array([1.0, 2.0, 3.0, 4.0])
    train, test = train_test_split(table, test_size=1, random_state=0)
    assert isinstance(train, SampleTable)
    assert len(train) == 3
    assert len(test) == 1
    assert_array_equal(cross_val_score(MeanFlux(), table, y, cv=KFold(2)), 1)
    search = GridSearchCV(MeanFlux(), {"offset": [0, 1]}, cv=2).fit(table, y)
    assert search.best_params_ == {"offset": 0}


def test_class_survives(table):
    selected = table[:], table[table["n"] > 0], table[["coord", "flux"]]
    for same in (pickle.loads(pickle.dumps(table)), copy.deepcopy(table), table.copy(), *selected):
        assert type(same) is SampleTable
        assert_array_equal(same["flux"], table["flux"])
    assert type(vstack([table, table])) is SampleTable
    assert type(SampleTable(Table({"n": [1]}))) is SampleTable


@pytest.mark.parametrize("name", ["sources.ecsv", "sources.fits", "sources.fits.gz"])
def test_table_round_trip(table, name, tmp_path):
    path = tmp_path / name
    atomic_write(table, path)
    assert os.listdir(tmp_path) == [name]
    assert_array_equal(SampleTable.read(path)["flux"], table["flux"])


def test_callable_and_keywords(tmp_path, table):
    atomic_write(lambda partial, text: partial.write_text(text), tmp_path / "sources.reg", text="fk5")
    assert (tmp_path / "sources.reg").read_text() == "fk5"
    atomic_write(table["n",], tmp_path / "sources.csv", delimiter=",", format="ascii.ecsv")
    assert "delimiter: ','" in (tmp_path / "sources.csv").read_text()


def test_existing_file_needs_overwrite(tmp_path, table):
    path = tmp_path / "sources.ecsv"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=r"sources.ecsv exists already; pass overwrite=True to replace it"):
        atomic_write(table, path)
    assert path.read_text() == "mine"
    atomic_write(table, path, overwrite=True)
    assert len(SampleTable.read(path)) == 4


def test_file_that_appears_meanwhile_is_kept(tmp_path):
    path = tmp_path / "sources.txt"

    def write(partial):
        path.write_text("theirs")
        partial.write_text("mine")

    with pytest.raises(FileExistsError):
        atomic_write(write, path)
    assert path.read_text() == "theirs"
    assert os.listdir(tmp_path) == ["sources.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "sources.txt"
    path.write_text("old")

    def write(partial):
        partial.write_text("half")
        raise error

    with pytest.raises(error):
        atomic_write(write, path, overwrite=True)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["sources.txt"]


def test_overwritten_link_stays_a_link(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "real.txt")
    atomic_write(lambda partial: partial.write_text("new"), link, overwrite=True)
    assert link.is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_impossible_targets(tmp_path, table):
    with pytest.raises(IsADirectoryError, match="is a folder"):
        atomic_write(table, tmp_path, overwrite=True)
    with pytest.raises(FileNotFoundError, match=r"the folder .*missing does not exist"):
        atomic_write(table, tmp_path / "missing" / "sources.ecsv")
