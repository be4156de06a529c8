"""``astrolearn find --classify``: from yearly maps, or a photon list, to a catalogue that says what its sources are."""

import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table
from toy import toy_years

from astrolearn import SourceClassifier, cli
from astrolearn.sky import RegionMask, SkyMap
from astrolearn.sources import commands
from astrolearn.sources.fermi import LATSkySimulator
from astrolearn.sources.reports import census, strongest

EDGES = [10, 30, 100, 300] * u.GeV
YEAR = 365.25 * 86400  # s
COLUMNS = ["class", "subclass", "p_agn", "p_bll", "p_fsrq", "p_psr", "p_pwn_snr", "p_fake", "fake"]
YEARS = "year1.fits year2.fits year3.fits"
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
    columns["CONVERSION_TYPE"] = np.zeros(len(columns["TIME"]), np.int16)
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
        part = SkyMap(skymap.data, nest=skymap.nest, energy_edges=EDGES, psf=skymap.psf)
        part.write(folder / f"bare{number}.fits")
        part.exposure = skymap.exposure
        part.write(folder / f"year{number}.fits")
    SkyMap(total.data, nest=total.nest, energy_edges=EDGES, psf=total.psf, exposure=total.exposure).write(
        folder / "total.fits")
    SkyMap(total.data, nest=total.nest).write(folder / "unnamed.fits")
    SkyMap(np.zeros((3, 768)), energy_edges=EDGES, psf=total.psf).write(folder / "coarse.fits")
    write_events(folder / "photons.fits", years)
    write_events(folder / "two_years.fits", years[:2])
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


def test_yearly_maps(find, classifier, folder, tmp_path):
    status, out, err, catalogue = find(YEARS, "--classify", "--plot", tmp_path / "sky.png")
    assert (status, err) == (0, "")
    for number, skymap in enumerate(classifier.maps, 1):
        np.testing.assert_array_equal(skymap.data, SkyMap.read(folder / f"year{number}.fits").data)
    _, _, _, of_total = find("total.fits", output="total.ecsv")
    assert len(of_total) > 10
    assert catalogue.colnames == of_total.colnames + COLUMNS
    np.testing.assert_allclose(catalogue["significance"], of_total["significance"], rtol=1e-4)  # in the same order
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
    np.testing.assert_allclose(of_years["counts"].value, of_total["counts"].value, rtol=1e-4)
    assert "class" not in out and "detections:" not in out


def test_one_map_is_given_as_it_is(find, classifier, folder):
    status, _, err, catalogue = find("total.fits", "--classify", folder / "mine.safetensors")
    assert (status, err) == (0, "")
    assert isinstance(classifier.maps, SkyMap)
    assert catalogue.meta["classifier"] == str(folder / "mine.safetensors")


def test_options_hold_for_every_year(find, classifier, tmp_path, exposure_file):
    classifier.energy_edges_ = [10, 100, 300] * u.GeV
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


@pytest.mark.parametrize("files", ["bare1.fits", "bare1.fits bare2.fits", "year1.fits bare2.fits"])
def test_maps_without_exposure(find, classifier, files):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        status, _, err, catalogue = find(files, "--classify")
    assert status == 0
    assert err.count("\n") == 1
    assert "warning" in err and "is ten years of all photons: give the true one with --exposure" in err
    assert "flux" not in catalogue.colnames and "class" in catalogue.colnames
    assert find(files)[2] == ""


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


# All-sky mean of the 3FHL exposure cube at 10 GeV: 3.122e11 cm2 s in seven years; the effective area is about as large
# up to 300 GeV. 55 % of the photons convert in the front.
@pytest.mark.parametrize(("options", "share"), [([], 1), (["--event-type", "FRONT"], 0.55)])
def test_exposure_of_the_survey(find, classifier, options, share):
    status, _, err, catalogue = find("two_years.fits", "--classify", "--nside", "32", *options)
    assert (status, err) == (0, "")
    assert len(classifier.maps) == 2
    for skymap in classifier.maps:
        exposure = skymap.exposure.to_value("cm2 s")
        np.testing.assert_allclose(exposure.mean(axis=1), share * 3.122e11 / 7, rtol=0.03)
        brightest = skymap.pixel_coords(exposure[0].argmax()).icrs
        assert brightest.dec > 60 * u.deg  # the survey favours the northern celestial pole: order and frame are right
    total = sum(skymap.exposure.mean() for skymap in classifier.maps)
    assert total.to_value("cm2 s") == pytest.approx(share * 3.122e11 * 2 / 7, rel=0.03)
    assert not any("flux" in name for name in catalogue.colnames)
    without = find("two_years.fits", "--nside", "32", "--energy-edges", "10", "30", "100", "300", *options)[3]
    assert catalogue.colnames == without.colnames + COLUMNS
    np.testing.assert_allclose(catalogue["counts"].value, without["counts"].value, rtol=1e-6)


def test_bins_of_ones_own(find, classifier):
    """Finer ones than those of the classifier, that add up to them."""
    edges = ("--energy-edges", "10", "30", "60", "100", "300")
    status, _, err, catalogue = find("photons.fits", "--classify", "--nside", "32", *edges)
    assert (status, err) == (0, "")
    assert [skymap.n_energy for skymap in classifier.maps] == [4] * 3
    assert catalogue["bin_counts"].shape[1] == 4


@pytest.mark.parametrize("files", ["photons.fits", "total.fits", YEARS])
def test_bins_that_the_classifier_cannot_use(fails, classifier, monkeypatch, folder, files):
    monkeypatch.setattr(commands.PointSourceFinder, "predict", None)  # fails before the search
    options = ["--nside", "32"] if files == "photons.fits" else []
    message = fails(files, "--classify", "--energy-edges", "10", "100", "300", *options)
    assert message == (f"{folder / files.split()[0]}: the classifier needs the energy bins [ 10.  30. 100. 300.] GeV, "
                       "which cannot be made of those of the map, [ 10. 100. 300.] GeV: leave out --classify to find "
                       "sources only")


def test_bins_that_are_not_known(find, fails, classifier, exposure_file):
    message = fails("unnamed.fits", "--classify", "--psf", "0.3 deg")
    assert "give them with --energy-edges, or leave out --classify" in message
    named = ("--energy-edges", "10", "30", "100", "300", "--exposure", exposure_file, "--psf", "FRONT")
    assert find("unnamed.fits", "--classify", *named)[0] == 0


@pytest.mark.parametrize(("edges", "missing"), [
    ([3, 30, 300], "3 to 10.1 GeV"),  # the photons have 10.1, 50 and 270 GeV
    ([9, 30, 300], "9 to 10.1 GeV"),
    ([10, 30, 280, 900], "270 to 900 GeV"),
    ([3, 30, 280, 900], "3 to 10.1 GeV and 270 to 900 GeV"),
    ([600, 900], "600 to 900 GeV"),
])
def test_photons_that_do_not_fill_the_bins(fails, classifier, folder, edges, missing):
    classifier.energy_edges_ = edges * u.GeV
    message = fails("photons.fits", "--classify", "--nside", "32")
    assert message == (f"{folder / 'photons.fits'}: the classifier needs photons of {edges[0]:g} to {edges[-1]:g} GeV, "
                       f"and those of {missing} are missing: leave out --classify to find sources only")


def test_a_complete_list_without_the_hardest_photons(find, classifier):
    classifier.energy_edges_ = [9.5, 20, 40, 2000] * u.GeV
    assert find("photons.fits", "--classify", "--nside", "32")[0] == 0


@pytest.mark.parametrize(("selected", "edges", "missing"), [
    ("3000:2000000", [3, 30, 280, 900], None),  # the photons of a short list may be far from both
    ("10000:300000", [10, 20, 280, 2000], "300 to 2000 GeV"),
    ("10000:300000", [3, 30, 300], "3 to 10 GeV"),
    ("10000:300000", [10, 20, 30, 1000], None),  # of a source dN/dE ~ E^-2.2, 98 % of the photons above 30 GeV
])
def test_energies_that_were_selected(find, fails, classifier, folder, selected, edges, missing):
    with fits.open(folder / "photons.fits") as hdus:
        hdus["EVENTS"].header.update({"DSTYP1": "ENERGY", "DSUNI1": "MeV", "DSVAL1": selected})
        hdus.writeto(folder / "selected.fits", overwrite=True)
    classifier.energy_edges_ = edges * u.GeV
    if missing is None:
        assert find("selected.fits", "--classify", "--nside", "32")[0] == 0
    else:
        assert f"those of {missing} are missing" in fails("selected.fits", "--classify", "--nside", "32")


def test_a_short_list(find, classifier, folder):
    with fits.open(folder / "photons.fits") as hdus:
        hdus["EVENTS"].data["TIME"] /= 3
        hdus["EVENTS"].header["TSTOP"] = YEAR
        hdus.writeto(folder / "one_year.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        status, _, err, catalogue = find("one_year.fits", "--classify", "--nside", "32")
    assert status == 0
    assert err.count("\n") == 1
    assert "warning" in err and "less than two years" in err
    np.testing.assert_allclose(classifier.maps.exposure.mean(axis=1).to_value("cm2 s"), 3.122e11 / 7, rtol=0.03)
    assert not any("flux" in name for name in catalogue.colnames)


def test_a_list_without_times(find, classifier, folder, tmp_path):
    with fits.open(folder / "photons.fits") as hdus:
        table = Table(hdus["EVENTS"].data)
    table.remove_column("TIME")  # and the header does not say of how many years the photons are
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(table, name="EVENTS")]).writeto(folder / "timeless.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        status, _, err, catalogue = find("timeless.fits", "--classify", "--nside", "32")
    assert status == 0
    of_times, of_exposure = err.splitlines()
    assert "warning" in of_times and "no times (column TIME)" in of_times
    assert "warning" in of_exposure and "--exposure" in of_exposure
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


# -- a classifier that was trained -----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a barely trained classifier and the sky that it was trained on, and the sky's maps."""
    folder = tmp_path_factory.mktemp("trained")
    maps, catalogue, classes = toy_years(0, n_years=2, n_each=6, n_fake=6, nside=32, background=6.0)
    classifier = SourceClassifier(width=4, max_epochs=2, batch_size=8, lr=5e-3, random_state=0)
    classifier.fit(maps, catalogue, classes).save(folder / "tiny.safetensors")
    for number, skymap in enumerate(maps, 1):
        skymap.write(folder / f"year{number}.fits")
    coord = catalogue["coord"].icrs
    known = Table({"Source_Name": [f"Toy {row}" for row in range(len(coord))], "RAJ2000": coord.ra.deg,
                   "DEJ2000": coord.dec.deg, "CLASS1": np.char.upper(classes)})
    known.write(folder / "known.fits")
    return folder, maps


def plain(column):
    """A column as it was before it was written: ECSV has masked for empty text, and FITS has bytes."""
    return np.ma.filled(np.ma.asarray(column), "").astype(str) if column.dtype.kind in "SU" else column


OF_TOY = ["class", "subclass", "p_agn", "p_bll", "p_fsrq", "p_fake", "p_psr", "fake"]


@pytest.mark.parametrize("suffix", [".ecsv", ".fits"])
def test_trained_classifier_and_a_mask(trained, tmp_path, suffix, capsys):
    folder, maps = trained
    years, output = [folder / "year1.fits", folder / "year2.fits"], tmp_path / f"catalogue{suffix}"
    catalogue = commands.find(years, output, classify=folder / "tiny.safetensors",
                              mask="galactic; box(0, -45, 360, 90)")
    assert len(catalogue) > 5
    assert catalogue["coord"].galactic.b.min() > -1.3 * u.deg
    assert catalogue.colnames[-len(OF_TOY):] == OF_TOY
    total = catalogue["p_agn"] + catalogue["p_psr"] + catalogue["p_fake"]
    np.testing.assert_allclose(total, 1, rtol=1e-5)
    np.testing.assert_allclose(catalogue["p_bll"] + catalogue["p_fsrq"], catalogue["p_agn"], rtol=1e-5)
    # what the classifier says of the maps that were written
    masked = RegionMask("galactic; box(0, -45, 360, 90)").fit_transform(maps)
    expected = SourceClassifier.load(folder / "tiny.safetensors").classify(masked, catalogue["coord", "probability"])
    np.testing.assert_allclose(catalogue["p_psr"], expected["p_psr"], atol=1e-4)
    read = QTable.read(output)
    assert read.colnames == catalogue.colnames
    for name in OF_TOY:
        np.testing.assert_array_equal(plain(read[name]), catalogue[name])
    assert f"{len(catalogue)} detections" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".ecsv", ".fits"])
def test_trained_classifier_and_counterparts(trained, tmp_path, suffix):
    folder, _ = trained
    output = tmp_path / f"catalogue{suffix}"
    catalogue = commands.find([folder / "year1.fits", folder / "year2.fits"], output, quiet=True,
                              classify=folder / "tiny.safetensors", counterparts=folder / "known.fits")
    added = ["counterpart", "counterpart_class", "counterpart_separation", "counterpart_coord"]
    assert catalogue.colnames[-len(OF_TOY) - 4:] == OF_TOY + added
    read = QTable.read(output)
    assert set(read.colnames) == set(catalogue.colnames)
    near = catalogue["counterpart"] != ""
    assert 0 < near.sum() < len(catalogue)
    assert set(catalogue["counterpart_class"][near]) <= {"bll", "fsrq", "psr", "fake"}
    for name in ("class", "p_fake", "fake", "counterpart", "counterpart_class", "counterpart_separation"):
        np.testing.assert_array_equal(plain(read[name]), catalogue[name])
    apart = read["coord"][near].separation(read["counterpart_coord"][near])
    np.testing.assert_allclose(apart.deg, read["counterpart_separation"][near].value, atol=1e-6)


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
    head, *_, first, second = strongest(table, optical=False).splitlines()
    assert head == "2 detections:"  # one of them is no source
    assert strongest(table, optical=False, n=1).startswith("2 detections; the most significant:")
    assert strongest(table[:1], optical=False).startswith("1 detection:")
    assert strongest(table["coord", "coord_error", "probability", "significance", "counts"], optical=False).startswith(
        "2 sources found:")
    assert first.split()[-3:] == ["agn", "bll", "0.876"]
    assert second.split()[-2:] == ["fake", "0.700"]
