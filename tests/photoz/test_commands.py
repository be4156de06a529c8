"""The command ``astrolearn photoz``, from files to files."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.cosmology import units as cu
from astropy.table import MaskedColumn, QTable, Table

from astrolearn import PhotoZRegressor
from astrolearn.cli import main
from astrolearn.core.tables import SampleTable

BANDS = "grz"


def galaxies(n=60, seed=0):
    """A catalogue of three bands whose colours say the redshift."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.02, 0.3, n)
    table = QTable({band: (17 + slope * z + 0.01 * rng.normal(size=n)) * u.mag for band, slope in
                    zip(BANDS, (4, 1, 0), strict=True)})
    for band in BANDS:
        table[f"{band}_err"] = np.full(n, 0.01) * u.mag
    return table, z


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    table, z = galaxies(400)
    PhotoZRegressor(max_epochs=15, n_networks=2, random_state=0).fit(SampleTable(table), z * cu.redshift).save(path)
    return path


@pytest.fixture
def catalogue(tmp_path):
    table, z = galaxies(seed=1)
    table["objID"] = np.arange(60, dtype=np.uint64) + 1237645879551066262
    table["coord"] = SkyCoord(np.arange(60.0), np.zeros(60), unit="deg")
    table["zspec"] = z
    table.write(tmp_path / "catalogue.ecsv")
    return tmp_path / "catalogue.ecsv"


def run(weights, *arguments):
    return main(["photoz", *map(str, arguments), "--weights", str(weights)])


def test_catalogue_to_redshifts(tmp_path, weights, catalogue, capsys):
    out, picture = tmp_path / "redshifts.ecsv", tmp_path / "redshifts.png"
    status = run(weights, catalogue, "-o", out, "--true-redshift", "zspec", "--plot", picture, "--coverage", "0.9")
    printed = capsys.readouterr()
    assert status == 0, printed.err
    assert printed.err == ""
    result, source = QTable.read(out), QTable.read(catalogue)
    assert result.colnames[:4] == ["objID", "coord", "zspec", "z_median"]
    np.testing.assert_array_equal(result["objID"], source["objID"])
    assert result["objID"].dtype == np.uint64
    expected = PhotoZRegressor.load(weights).predict(SampleTable(source))
    np.testing.assert_allclose(result["z_median"], expected.value)
    assert getattr(result["z_median"], "unit", None) is None
    assert (result["z_lower"] < result["z_median"]).all()
    assert result.meta["coverage"] == 0.9
    assert "pdf" not in result.colnames
    assert "60 galaxies: redshifts from 0.0" in printed.out
    assert "against 60 true redshifts: sigma_MAD 0.0" in printed.out
    assert "in the intervals for 90%" in printed.out
    assert picture.stat().st_size > 10000


@pytest.mark.parametrize("suffix", ["ecsv", "fits"])
def test_densities_in_a_file(tmp_path, weights, catalogue, suffix):
    out = tmp_path / f"redshifts.{suffix}"
    assert run(weights, catalogue, "-o", out, "--pdf", "-q") == 0
    result = QTable.read(out)
    meta = {key.lower(): value for key, value in result.meta.items()}
    grid = np.linspace(meta["z_first"], meta["z_last"], meta["n_z"])
    assert result["pdf"].shape == (60, len(grid))
    np.testing.assert_allclose(np.trapezoid(result["pdf"], grid, axis=1), 1, atol=0.01)
    peak = grid[np.argmax(result["pdf"], axis=1)]
    np.testing.assert_allclose(result["z_mode"], peak, atol=0.01)


def test_other_names_and_missing_columns(tmp_path, weights, catalogue, capsys):
    table = Table.read(catalogue)
    expected = PhotoZRegressor.load(weights)
    table["g"].name = "dered_g"
    table["z"] = table["zspec"]  # SDSS calls its redshifts so, too
    table.remove_columns(["g_err", "r_err", "z_err", "coord"])
    table.write(tmp_path / "other.csv")
    out = tmp_path / "out.ecsv"
    options = ["--columns", "g=dered_g", "--missing", "z,g_err", "--missing", "r_err, z_err"]
    assert run(weights, "-o", out, *options, tmp_path / "other.csv") == 0
    assert "60 are unlike the training galaxies" in capsys.readouterr().out
    bands = SampleTable({"g": table["dered_g"], "r": table["r"]} |
                        {name: np.full(60, np.nan) for name in ("z", "g_err", "r_err", "z_err")})
    np.testing.assert_allclose(QTable.read(out)["z_median"], expected.predict(bands).value)


def test_galaxies_without_a_spectrum_are_not_compared(tmp_path, weights, catalogue, capsys):
    table = Table.read(catalogue)
    values = np.array(table["zspec"])
    values[:5], values[5] = -9999, np.nan
    table["zspec"] = MaskedColumn(values, mask=np.arange(60) == 6)
    table.write(tmp_path / "few.ecsv")
    out = tmp_path / "out.fits"
    assert run(weights, tmp_path / "few.ecsv", "-o", out, "--true-redshift", "zspec", "--plot",
               tmp_path / "a.png") == 0
    assert "against 53 true redshifts" in capsys.readouterr().out


@pytest.mark.parametrize(("options", "message"), [
    (["--columns", "g=nothing"], "has no column 'nothing'"),
    (["--columns", "g=r,g=z"], "--columns g=z: g is named twice"),
    (["--columns", "g=g,g=z"], "--columns g=z: g is named twice"),
    (["--columns", "g=z,r=z", "--missing", "z"], "column z would be g, r at once"),
    (["--columns", "g=r"], "column r would be g, r at once"),
    (["--columns", "u=g"], "the weights have no column 'u', but g, r, z"),
    (["--missing", "u"], "--missing u: the weights have no such column"),
    (["--true-redshift", "nothing"], "the catalogue has no such column"),
    (["--true-redshift", "coord"], "does not hold numbers"),
    (["--true-redshift", "z"], "cannot be the true redshift and the band z"),
    (["--plot", "a.png"], "name their column with --true-redshift"),
    (["--coverage", "68"], "--coverage 68 must be between 0 and 1"),
    (["--weights", "nothing"], "nothing"),
])
def test_options_that_cannot_be_used(tmp_path, weights, catalogue, capsys, options, message):
    out = tmp_path / "out.ecsv"
    assert main(["photoz", str(catalogue), "-o", str(out), "--weights", str(weights), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("astrolearn photoz: error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not out.exists()


def test_files_that_cannot_be_used(tmp_path, weights, catalogue, capsys):
    (tmp_path / "text.fits").write_text("no table")
    assert run(weights, tmp_path / "text.fits", "-o", tmp_path / "a.ecsv") == 2
    assert "cannot be read as a table" in capsys.readouterr().err
    (tmp_path / "text.cat").write_text("no table")
    assert run(weights, tmp_path / "text.cat", "-o", tmp_path / "a.ecsv") == 2
    assert "cannot be read as a table: neither its name (.ecsv, .fits" in capsys.readouterr().err
    table = Table.read(catalogue)
    table.remove_column("r_err")
    table.write(tmp_path / "lacks.ecsv")
    assert run(weights, tmp_path / "lacks.ecsv", "-o", tmp_path / "a.ecsv") == 2
    assert "has no column r_err: say with --columns what it is called there" in capsys.readouterr().err
    images = tmp_path / "images.safetensors"
    rng = np.random.default_rng(0)
    PhotoZRegressor(max_epochs=1, n_networks=1).fit(rng.normal(size=(20, 1, 16, 16)), rng.uniform(size=20)).save(images)
    assert run(images, catalogue, "-o", tmp_path / "a.ecsv") == 2
    assert "was trained on images" in capsys.readouterr().err
    assert not (tmp_path / "a.ecsv").exists()
