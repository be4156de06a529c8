"""``astrolearn find --classify``: from yearly maps, or a photon list, to a catalogue that says what its sources are."""

import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table

from astrolearn import cli
from astrolearn.sky import SkyMap
from astrolearn.sources import commands
from astrolearn.sources.fermi import LATSkySimulator
from astrolearn.sources.reports import census, strongest

EDGES = [10, 30, 100, 300] * u.GeV
YEAR = 365.25 * 86400  # s
COLUMNS = ["class", "subclass", "p_agn", "p_bll", "p_fsrq", "p_psr", "p_pwn_snr", "p_fake", "fake"]
KINDS = [("agn", "bll"), ("agn", "fsrq"), ("psr", ""), ("pwn_snr", ""), ("fake", "")]


class InventedClassifier:
    """Gives classes in turn, and keeps what it was shown."""

    energy_edges_ = EDGES

    def classify(self, maps, catalogue):
        self.maps = maps
        result = catalogue.copy()
        turn = [KINDS[row % len(KINDS)] for row in range(len(result))]
        result["class"], result["subclass"] = (np.array([kind[i] for kind in turn], dtype="U7") for i in (0, 1))
        for name in ("agn", "bll", "fsrq", "psr", "pwn_snr", "fake"):
            result[f"p_{name}"] = np.where([name in kind for kind in turn], 0.75, 0.125)
        result["fake"] = result["class"] == "fake"
        return result


@pytest.fixture
def classifier(monkeypatch):
    classifier = InventedClassifier()
    monkeypatch.setattr(commands, "_load_classifier", lambda weights, quiet: classifier)
    return classifier


def write_events(path, years):
    """Photons at the centres of their pixels and bins, in the middle of their years, as an FT1 file."""
    columns = {name: [] for name in ("ENERGY", "L", "B", "TIME")}
    for number, skymap in enumerate(years):
        energy_bin, pixel = np.nonzero(skymap.data)
        times = skymap.data[energy_bin, pixel].astype(int)
        coord = skymap.pixel_coords(np.repeat(pixel, times))
        energy = np.array([10.1, 50, 270])[np.repeat(energy_bin, times)] * 1e3  # reaching both ends of the bins
        for name, values in (("ENERGY", energy), ("L", coord.l.deg), ("B", coord.b.deg),
                             ("TIME", np.full(len(energy), (number + 0.5) * YEAR))):
            columns[name] = np.r_[columns[name], values]
    hdu = fits.BinTableHDU(Table(columns), name="EVENTS")
    hdu.header.update({"TSTART": 0.0, "TSTOP": len(years) * YEAR})
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A sky of three years as yearly maps, as cubes and as a photon list."""
    folder = tmp_path_factory.mktemp("classify")
    simulator = LATSkySimulator(EDGES, nside=32, years=3, random_state=0)
    (total, years), = simulator.sample_yearly()
    for number, skymap in enumerate(years, 1):
        SkyMap(skymap.data, nest=skymap.nest, energy_edges=EDGES, psf=skymap.psf).write(folder / f"year{number}.fits")
    SkyMap(total.data, nest=total.nest, energy_edges=EDGES, psf=total.psf).write(folder / "total.fits")
    SkyMap(np.zeros((3, 768)), energy_edges=EDGES, psf=total.psf).write(folder / "coarse.fits")
    write_events(folder / "photons.fits", years)
    image = simulator.simulate_image(SkyCoord(0, 0, unit="deg", frame="galactic"), (64, 96), 0.25 * u.deg)
    for number in (1, 2):
        fits.PrimaryHDU(image.data, image.wcs.to_header()).writeto(folder / f"cube{number}.fits")
    coord = total.sources["coord"][:200].icrs
    reference = Table({"Source_Name": [f"Known {row}" for row in range(200)], "RAJ2000": coord.ra.deg,
                       "DEJ2000": coord.dec.deg})
    reference.write(folder / "known.fits")
    return folder


@pytest.fixture
def find(folder, tmp_path, capsys):
    """Run the command in the folder with the data: status, standard output and error, and the catalogue."""
    def find(files, *options, output="catalogue.ecsv"):
        output = tmp_path / output
        paths = [str(folder / name) for name in files.split()]
        status = cli.main(["find", *paths, "-o", str(output), "--overwrite", *map(str, options)])
        return status, *capsys.readouterr(), QTable.read(output) if output.exists() else None
    return find


@pytest.fixture
def fails(find, tmp_path):
    def fails(*args):
        status, out, err, catalogue = find(*args)
        assert (status, out, catalogue) == (2, "", None)
        assert err.count("\n") == 1
        return err.removeprefix("astrolearn find: error: ").rstrip()
    return fails


# -- yearly maps ------------------------------------------------------------------------------------------------------
YEARS = "year1.fits year2.fits year3.fits"


def test_yearly_maps(find, classifier, folder, tmp_path):
    status, out, err, catalogue = find(YEARS, "--classify", "--plot", tmp_path / "sky.png")
    assert (status, err) == (0, "")
    for number, skymap in enumerate(classifier.maps, 1):
        np.testing.assert_array_equal(skymap.data, SkyMap.read(folder / f"year{number}.fits").data)
    _, _, _, of_total = find("total.fits", output="total.ecsv")
    assert len(of_total) > 10
    assert catalogue.colnames == of_total.colnames + COLUMNS
    np.testing.assert_allclose(catalogue["significance"], of_total["significance"], rtol=1e-6)  # in the same order
    assert catalogue.meta["input"] == ", ".join(str(folder / name) for name in YEARS.split())
    assert catalogue.meta["classifier"] == "fermi-lat-classes"
    assert "classifier" not in of_total.meta
    lines = out.splitlines()
    assert lines[1].split()[-3:] == ["class", "subclass", "p_class"]
    assert [line.split()[-1] for line in lines[4:14]] == ["0.750"] * 10
    assert lines[14] == census(catalogue)
    assert lines[14].startswith(f"of {len(catalogue)} detections: ")
    assert (tmp_path / "sky.png").exists()


def test_years_are_summed_without_classes(find):
    _, out, _, of_years = find(YEARS)
    _, _, _, of_total = find("total.fits")
    assert of_years.colnames == of_total.colnames
    np.testing.assert_allclose(of_years["counts"].value, of_total["counts"].value, rtol=1e-6)
    assert "class" not in out and "detections:" not in out


def test_one_map_is_given_as_it_is(find, classifier, folder):
    status, _, err, catalogue = find("total.fits", "--classify", folder / "mine.safetensors")
    assert (status, err) == (0, "")
    assert isinstance(classifier.maps, SkyMap)
    assert catalogue.meta["classifier"] == str(folder / "mine.safetensors")


def test_options_hold_for_every_year(find, classifier, tmp_path, exposure_file):
    mask = "galactic; box(0, -45, 360, 90)"
    options = ("--mask", mask, "--psf", "FRONT+BACK", "--exposure", exposure_file, "--energy-edges", "10", "100", "300")
    _, _, _, catalogue = find(YEARS, "--classify", *options)
    assert catalogue["coord"].galactic.b.min() > -1.3 * u.deg
    np.testing.assert_allclose(catalogue["bin_flux"].value, catalogue["bin_counts"].value / 3e11, rtol=1e-3)
    for skymap in classifier.maps:
        assert skymap.n_energy == 2
        assert skymap.mask.mean() == pytest.approx(0.5, abs=0.02)
        np.testing.assert_allclose(skymap.exposure.to_value("cm2 s"), 1e11, rtol=1e-3)
        assert skymap.psf == classifier.maps[0].psf
    _, _, _, of_total = find("total.fits", *options)
    np.testing.assert_allclose(catalogue["flux"].value, of_total["flux"].value, rtol=1e-5)


@pytest.fixture
def exposure_file(tmp_path):
    """3 x 10^11 cm2 s everywhere, as gtexpcube2 writes it."""
    cube = fits.BinTableHDU(Table({f"ENERGY{i}": np.full(768, 3e11) for i in range(1, 9)}), name="HPXEXPOSURES")
    cube.header.update({"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": 8})
    energies = fits.BinTableHDU(Table({"Energy": np.geomspace(300, 1e6, 8)}), name="ENERGIES")
    fits.HDUList([fits.PrimaryHDU(), cube, energies]).writeto(tmp_path / "exposure.fits")
    return tmp_path / "exposure.fits"


def test_yearly_cubes(find, classifier, exposure_file):
    options = ("--energy-edges", "10", "30", "100", "300", "--psf", "FRONT", "--threshold", "0.02")
    status, _, err, catalogue = find("cube1.fits cube2.fits", "--classify", "--exposure", exposure_file, *options)
    assert (status, err) == (0, "")
    assert {"x_centroid", "class"} <= set(catalogue.colnames)
    np.testing.assert_allclose(catalogue["bin_flux"].value, catalogue["bin_counts"].value / 3e11, rtol=1e-3)
    assert [one.meta["exposure"].max().to_value("cm2 s") for one in classifier.maps] == pytest.approx([1.5e11] * 2)


# -- photon lists -----------------------------------------------------------------------------------------------------
def test_photons_are_binned_for_the_classifier(find, classifier, folder, exposure_file):
    status, _, err, catalogue = find("photons.fits", "--classify", "--nside", "32", "--exposure", exposure_file)
    assert (status, err) == (0, "")
    assert len(classifier.maps) == 3
    for number, skymap in enumerate(classifier.maps, 1):
        expected = SkyMap.read(folder / f"year{number}.fits").to_order(nest=True)
        np.testing.assert_array_equal(skymap.data, expected.data)
        np.testing.assert_allclose(skymap.energy_edges.to_value(u.GeV), EDGES.value)
        np.testing.assert_allclose(skymap.exposure.to_value("cm2 s"), 1e11, rtol=1e-3)
    assert catalogue["bin_counts"].shape[1] == 3
    np.testing.assert_allclose(catalogue["bin_flux"].value, catalogue["bin_counts"].value / 3e11, rtol=1e-3)


def test_bins_of_ones_own(find, classifier):
    _, _, _, catalogue = find("photons.fits", "--classify", "--nside", "32", "--energy-edges", "10", "100", "300")
    assert all(skymap.n_energy == 2 for skymap in classifier.maps)
    assert len(classifier.maps) == 3
    assert catalogue["bin_counts"].shape[1] == 2


@pytest.mark.parametrize("edges", [[3, 30, 300], [10, 100, 900], [10, 30, 250, 1000], [600, 900]])
def test_photons_that_do_not_fill_the_bins(fails, classifier, folder, edges):
    classifier.energy_edges_ = edges * u.GeV
    message = fails("photons.fits", "--classify", "--nside", "32")
    assert message == (f"{folder / 'photons.fits'}: the classifier needs photons of {edges[0]:g} to {edges[-1]:g} GeV, "
                       "and these have 10.1 to 270 GeV: leave out --classify to find their sources only")


def test_bins_nearly_filled(find, classifier):
    """Of a source dN/dE ~ E^-2.2, photons of 10.1 to 270 GeV are 98 % of the first bin here and 94 % of the last."""
    classifier.energy_edges_ = [10, 20, 40, 600] * u.GeV
    assert find("photons.fits", "--classify", "--nside", "32")[0] == 0


def test_a_list_without_times(find, classifier, folder, tmp_path):
    with fits.open(folder / "photons.fits") as hdus:
        table = Table(hdus["EVENTS"].data)
    table.remove_column("TIME")
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(table, name="EVENTS")]).writeto(folder / "timeless.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        status, _, err, catalogue = find("timeless.fits", "--classify", "--nside", "32")
    assert status == 0
    assert err.count("\n") == 1
    assert "warning" in err and "no times (column TIME)" in err
    assert isinstance(classifier.maps, SkyMap)
    assert "class" in catalogue.colnames
    assert find("timeless.fits", "--nside", "32")[2] == ""  # times are of no use without classes


# -- what cannot be done ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("files", "options", "message"), [
    ("photons.fits photons.fits", [], "photons.fits: this is a photon list, but several files must be maps"),
    ("year1.fits photons.fits", ["--classify"], "photons.fits: this is a photon list, but several files must be maps"),
    ("year1.fits year2.fits year1.fits", [], "year1.fits: this file is given twice"),
    ("year1.fits none.fits", [], "none.fits: no such file"),
    ("year1.fits year2.fits", ["--nside", "32"], "year1.fits: --nside is for photon lists"),
    ("year1.fits year2.fits", ["--energy-edges", "10", "20"], "cannot merge energy bins"),
    ("year1.fits coarse.fits", [], "map 2 has"),
    ("year1.fits", ["--counterparts", "nothing.fits"], "nothing.fits: no such file"),
])
def test_wrong_input_is_one_line(fails, classifier, files, options, message):
    assert message in fails(files, *options)


def test_no_file_that_is_read_is_written(find, folder, tmp_path, capsys):
    known = (folder / "known.fits").read_bytes()
    args = [str(folder / "year1.fits"), "--counterparts", str(folder / "known.fits")]
    assert cli.main(["find", *args, "-o", str(folder / "known.fits"), "--overwrite"]) == 2
    assert "this file is read, too" in capsys.readouterr().err
    assert (folder / "known.fits").read_bytes() == known


@pytest.mark.parametrize(("options", "message"), [
    (["--classify"], "--classify is for counts maps, but the weights are for optical images"),
    (["--counterparts", "{folder}/known.fits"], "--counterparts is for counts maps"),
    (["{folder}/year2.fits"], "several files are for counts maps"),
])
def test_not_of_optical_images(folder, tmp_path, capsys, options, message):
    args = ["find", str(folder / "year1.fits"), *(option.format(folder=folder) for option in options)]
    assert cli.main([*args, "--weights", "optical-stars", "-o", str(tmp_path / "a.ecsv")]) == 2
    assert message in capsys.readouterr().err


# -- the catalogue ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", [".ecsv", ".fits"])
def test_nothing_found(find, classifier, folder, suffix):
    options = ("--classify", "--counterparts", folder / "known.fits", "--threshold", "1")
    status, out, err, catalogue = find(YEARS, *options, output=f"none{suffix}")
    assert (status, err) == (0, "")
    assert len(catalogue) == 0
    assert {*COLUMNS, "counterpart"} <= set(catalogue.colnames)
    assert out.splitlines()[0] == "No sources found."
    assert "detections" not in out


def test_fits_catalogue(find, classifier, folder):
    status, _, err, catalogue = find(YEARS, "--classify", "--counterparts", folder / "known.fits", output="a.fits")
    assert (status, err) == (0, "")
    assert catalogue.meta["CLASSIFR"] == "fermi-lat-classes"
    assert catalogue.meta["COUNTERP"] == str(folder / "known.fits")
    assert set(catalogue["class"]) == {"agn", "psr", "pwn_snr", "fake"}
    np.testing.assert_array_equal(catalogue["fake"], catalogue["class"] == "fake")


@pytest.mark.parametrize("classify", [[], ["--classify"]])
def test_counterparts(find, classifier, folder, classify):
    status, out, err, catalogue = find(YEARS, "--counterparts", folder / "known.fits", *classify)
    assert (status, err) == (0, "")
    names = np.ma.filled(np.ma.asarray(catalogue["counterpart"]), "")  # ECSV has no empty text
    assert 0 < np.sum(names != "") < len(catalogue)
    assert ("class" in catalogue.colnames) == bool(classify)
    assert out.splitlines()[1].split()[-1] == "counterpart"
    order = np.argsort(-catalogue["significance"])[:10]
    shown = [f"Known {line.split()[-1]}" if "Known" in line else "" for line in out.splitlines()[4:14]]
    assert shown == names[order].tolist()
    assert any(shown)


# -- what is printed --------------------------------------------------------------------------------------------------
def test_census():
    table = QTable({"class": ["fake"] * 4 + ["psr"] * 2 + ["agn"] * 3, "subclass": [""] * 6 + ["fsrq", "bll", "bll"]})
    assert census(table) == "of 9 detections: 3 agn (2 bll, 1 fsrq), 2 psr, 4 fake"
    assert census(table[4:5]) == "of 1 detection: 1 psr"
    table["subclass"] = ""
    assert census(table[6:]) == "of 3 detections: 3 agn"


def test_class_and_its_probability_are_shown():
    coord = SkyCoord([10, 20] * u.deg, [0, 1] * u.deg, frame="galactic")
    table = QTable({"coord": coord, "coord_error": [0.1, 0.1] * u.deg, "probability": [0.9, 0.8],
                    "significance": [5.0, 9.0], "counts": [20, 30.0] * u.ct, "class": ["fake", "agn"],
                    "subclass": ["", "bll"], "p_agn": [0.3, 0.876], "p_fake": [0.7, 0.1]})
    *_, first, second = strongest(table, optical=False).splitlines()
    assert first.split()[-3:] == ["agn", "bll", "0.876"]
    assert second.split()[-2:] == ["fake", "0.700"]
