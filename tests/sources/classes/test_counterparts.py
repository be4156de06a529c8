import gzip

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table, join
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolearn.core.tables import SampleTable
from astrolearn.sky import match
from astrolearn.sources.classes.counterparts import add_counterparts, read_reference

NEW = ["counterpart", "counterpart_class", "counterpart_separation", "counterpart_coord"]


@pytest.fixture
def found():
    """Detections near the first known source (two of them), near the third, and near none."""
    coord = SkyCoord([10.1, 9.95, 30, 200] * u.deg, [0, 0, 0.2, 0] * u.deg, frame="galactic")
    return SampleTable({"coord": coord, "significance": [9.0, 8.0, 7.0, 6.0]})


@pytest.fixture
def known():
    return Table({
        "Source_Name": np.array([b"4FGL A  ", b"4FGL B  ", b"4FGL C  "]),
        "GLON": [10.0, 20.0, 30.0], "GLAT": [0.0, 0.0, 0.0],
        "CLASS1": MaskedColumn([b"PSR  ", b"bll  ", b"     "], mask=[False, False, True]),
    })  # fmt: skip


def test_nearest_of_each(found, known):
    before = known.copy()
    result = add_counterparts(found, known)
    assert type(result) is SampleTable
    assert result.colnames == [*found.colnames, *NEW]
    assert found.colnames == ["coord", "significance"]
    assert result["counterpart"].tolist() == ["4FGL A", "4FGL A", "4FGL C", ""]
    assert result["counterpart_class"].tolist() == ["psr", "psr", "", ""]
    np.testing.assert_allclose(result["counterpart_separation"].to_value(u.deg), [0.1, 0.05, 0.2, np.nan], rtol=1e-6)
    assert result["counterpart_coord"].frame.name == "galactic"
    np.testing.assert_allclose(result["counterpart_coord"].l.deg, [10, 10, 30, np.nan])
    assert all(np.all(known[name] == before[name]) for name in known.colnames)


@pytest.mark.parametrize("radius", ["0.15 deg", 0.15, 9 * u.arcmin])
def test_radius(found, known, radius):
    assert add_counterparts(found, known, radius)["counterpart"].tolist() == ["4FGL A", "4FGL A", "", ""]


def test_frame_of_the_reference(found, known):
    coord = SkyCoord(known["GLON"], known["GLAT"], unit="deg", frame="galactic").fk5
    reference = QTable({"coord": coord, "name": known["Source_Name"]})
    result = add_counterparts(found, reference)
    assert result["counterpart_coord"].frame.name == "fk5"
    np.testing.assert_allclose(result["counterpart_coord"].galactic.l.deg, [10, 10, 30, np.nan])


def test_plain_table_and_older_columns(found, known):
    catalogue = Table({"L": found["coord"].l, "B": found["coord"].b, "counterpart": ["old name", "", "", ""]})
    result = add_counterparts(catalogue, known)
    assert type(result) is Table
    assert result["counterpart"].tolist() == ["4FGL A", "4FGL A", "4FGL C", ""]
    assert result["counterpart_separation"].unit == u.deg
    assert catalogue["counterpart"][0] == "old name"


@pytest.mark.parametrize(("columns", "name"), [
    (("ASSOC_PROB_BAY", "assoc", "SOURCE"), "SOURCE"), (("ASSOC_FGL", "Assoc1", "assoc"), "Assoc1"),
    (("assoc", "NAME", "other"), "NAME"), (("Source_Name", "name", "Source"), "Source_Name"),
])  # fmt: skip
def test_column_of_names(found, known, columns, name):
    reference = known["GLON", "GLAT"]
    for column in columns:
        reference[column] = [f"{column} {row}" for row in range(3)]
    assert add_counterparts(found, reference)["counterpart"][0] == f"{name} 0"


@pytest.mark.parametrize(("column", "expected"), [("class", "sbg"), ("CLASS", "sbg"), ("Class1", "sbg"), ("kind", "")])
def test_column_of_classes(found, known, column, expected):
    reference = known["Source_Name", "GLON", "GLAT"]
    reference["CLASS2"] = "bll"
    reference[column] = "SBG"
    assert set(add_counterparts(found[:3], reference)["counterpart_class"]) == {expected}


def test_rows_without_a_position(found, known):
    known["GLON"] = MaskedColumn(known["GLON"], mask=[True, False, False])
    known["GLAT"][2] = np.nan
    assert set(add_counterparts(found, known)["counterpart"]) == {""}
    found["coord"] = SkyCoord([20, np.nan, 20.1, 20], [0, np.nan, 0, 0], unit="deg", frame="galactic")
    assert add_counterparts(found, known)["counterpart"].tolist() == ["4FGL B", "", "4FGL B", "4FGL B"]


def test_masked_coordinates_of_a_join(found):
    positions = QTable({"id": [1, 2], "coord": found["coord"][[0, 2]]})
    reference = join(QTable({"id": [1, 2, 3], "name": ["a", "b", "c"]}), positions, join_type="outer")
    assert add_counterparts(found, reference)["counterpart"].tolist() == ["a", "a", "b", ""]


def test_nothing_found_or_nothing_known(found, known):
    for catalogue, reference in ((found[:0], known), (found, known[:0]), (found[:0], known[:0])):
        result = add_counterparts(catalogue, reference)
        assert result.colnames == [*found.colnames, *NEW]
        assert len(result) == len(catalogue)
        assert result["counterpart"].dtype.kind == result["counterpart_class"].dtype.kind == "U"
        assert set(result["counterpart"]) <= {""}
        assert np.isnan(result["counterpart_separation"]).all()


def test_refusals(found, known):
    with pytest.raises(ValueError, match="no column of names.*it has GLON, GLAT, CLASS1"):
        add_counterparts(found, known["GLON", "GLAT", "CLASS1"])
    with pytest.raises(ValueError, match="no positions"):
        add_counterparts(found, known["Source_Name", "CLASS1"])
    with pytest.raises(ValueError, match="must be positive"):
        add_counterparts(found, known, 0)
    with pytest.raises(u.UnitConversionError, match="radius"):
        add_counterparts(found, known, "3 s")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 12), st.integers(1, 12), st.floats(0.1, 90), st.integers(0, 2**31))
def test_against_all_separations(n_found, n_known, radius, seed):
    rng = np.random.default_rng(seed)
    a, b = (SkyCoord(rng.uniform(0, 360, n), np.rad2deg(np.arcsin(rng.uniform(-1, 1, n))), unit="deg")
            for n in (n_found, n_known))  # fmt: skip
    names = [f"source {i}" for i in range(n_known)]
    result = add_counterparts(QTable({"coord": a}), QTable({"coord": b.galactic, "name": names}), radius)
    for coord, row in zip(a, result, strict=True):
        separation = coord.separation(b).deg
        expected = names[separation.argmin()] if separation.min() <= radius else ""
        assert row["counterpart"] == expected
        if expected:
            assert row["counterpart_separation"].to_value(u.deg) == pytest.approx(separation.min(), rel=1e-6)


@pytest.mark.parametrize("suffix", ["ecsv", "fits"])
def test_written_and_read(found, known, tmp_path, suffix):
    result = add_counterparts(found, known)
    result.write(tmp_path / f"table.{suffix}")
    back = QTable.read(tmp_path / f"table.{suffix}")
    assert back.colnames == result.colnames
    for name in ("counterpart", "counterpart_class"):  # astropy reads empty strings as masked ones
        assert back[name].filled("").astype(str).tolist() == result[name].tolist()
    np.testing.assert_array_equal(back["counterpart_separation"], result["counterpart_separation"])
    assert back["counterpart_coord"].frame.name == "galactic"
    np.testing.assert_allclose(back["counterpart_coord"].l.deg, result["counterpart_coord"].l.deg)


# -- files ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["known.ecsv", "known.csv", "known.vot", "known.fits", "known.fits.gz", "known"])
def test_files(found, known, tmp_path, name):
    known["Source_Name"] = ["4FGL A", "4FGL B", "4FGL C"]
    known["CLASS1"] = ["PSR", "bll", ""]
    known["GLON"].unit = known["GLAT"].unit = u.deg
    form = {"vot": "votable"}.get(name.rpartition(".")[2], None if "." in name else "fits")
    known.write(tmp_path / name, format=form)
    reference = read_reference(tmp_path / name)
    result = add_counterparts(found, reference)
    assert result["counterpart"].tolist() == ["4FGL A", "4FGL A", "4FGL C", ""]
    assert result["counterpart_class"].tolist() == ["psr", "psr", "", ""]


def test_first_table_with_positions(known, tmp_path):
    header = fits.BinTableHDU.from_columns([fits.Column("RUN", "J", array=[1])], name="GTI")
    tables = [fits.table_to_hdu(known), fits.table_to_hdu(known[:1])]
    path = tmp_path / "gll_psc.fit"
    fits.HDUList([fits.PrimaryHDU(np.zeros((2, 2))), header, *tables]).writeto(path)
    assert len(read_reference(str(path))) == 3


def test_unreadable_files(known, tmp_path):
    def refuse(name, content, message, error=ValueError):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(error, match=f"{name}: {message}"):
            read_reference(path)

    refuse("none.fits", None, "no such file", FileNotFoundError)
    refuse("noise.fits", b"noise", "not a readable FITS file", OSError)
    refuse("noise.ecsv", b"noise", "not a readable table")
    refuse("noise.csv", b"\xff\xfe noise", "not a readable table")
    refuse("noise.xml", b"<VOTABLE", "neither its name")
    refuse("half.vot", b'<?xml version="1.0"?><VOTABLE><RESOURCE>', "not a readable table")
    refuse("list.dat", b"a b c", "neither its name")
    refuse("other.csv", b"a,b\n1,2\n", "the table has no positions .* it has a, b")
    known["Source_Name", "CLASS1"].write(tmp_path / "names.fits")
    refuse("names.fits", None, "no table with positions .*: a table has Source_Name, CLASS1")
    fits.PrimaryHDU(np.zeros((2, 2))).writeto(tmp_path / "image.fits")
    refuse("image.fits", None, "no table with positions .*: no tables")
    whole = gzip.compress((tmp_path / "names.fits").read_bytes())
    refuse("cut.fits.gz", whole[:-20], "not a readable FITS file", OSError)
    with pytest.raises(IsADirectoryError, match=tmp_path.name):
        read_reference(tmp_path)


@pytest.mark.parametrize(("name", "rows"), [("4fgl_dr2", 2907), ("4fgl_8yr", 2560), ("2fhl", 168)])
def test_real_catalogues(shared_data, name, rows):
    reference = read_reference(shared_data / "gamma" / f"{name}_north.fits.gz")
    assert len(reference) == rows
    result = add_counterparts(reference, reference)
    names, classes = np.array(result["counterpart"]), np.array(result["counterpart_class"])
    np.testing.assert_array_equal(names, np.char.strip(np.array(reference["Source_Name"]).astype(str)))
    assert u.Quantity(result["counterpart_separation"]).max() < 1e-4 * u.deg
    assert {"bll", "fsrq", "pwn", "snr", "spp", "unk"} <= set(classes)
    assert not {"PSR", "PWN", "FSRQ"} & set(classes)
    assert all(text == text.strip() for text in [*names, *classes])


def test_known_sources(shared_data):
    # optical and radio positions (SIMBAD) of Mkn 421, 3C 273 and Geminga; row 4 of the comparison table in the talk,
    # which has no counterpart there either
    coord = SkyCoord([166.1138, 187.2779, 98.4756], [38.2088, 2.0524, 17.7703], unit="deg")
    lonely = SkyCoord(25.296101, 81.41749, unit="deg", frame="galactic").icrs
    found = QTable({"coord": SkyCoord([*coord, lonely])})
    result = add_counterparts(found, read_reference(shared_data / "gamma" / "4fgl_dr2_north.fits.gz"))
    assert result["counterpart"].tolist() == ["4FGL J1104.4+3812", "4FGL J1229.0+0202", "4FGL J0633.9+1746", ""]
    assert result["counterpart_class"].tolist() == ["bll", "fsrq", "psr", ""]
    assert result["counterpart_separation"][:3].max() < 0.02 * u.deg


def test_catalogues_agree(shared_data):
    second, fourth = (read_reference(shared_data / "gamma" / f"{name}_north.fits.gz") for name in ("2fhl", "4fgl_dr2"))
    result = add_counterparts(second, fourth)
    # nearest or one to one, almost all have a counterpart, and that of a BL Lac is a BL Lac
    n_pairs = match(second, fourth, 0.3 * u.deg, n_shifts=2).matched.sum()
    assert n_pairs <= np.sum(result["counterpart"] != "") <= n_pairs + 5
    bll = np.array([text.strip() == "bll" for text in second["CLASS"]])
    assert bll.sum() > 50
    assert np.mean(result["counterpart_class"][bll] == "bll") > 0.9
