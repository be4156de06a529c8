import subprocess
import sys
import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table
from regions import Regions

from astrolearn import PointSourceFinder
from astrolearn.cli import main
from astrolearn.core import console
from astrolearn.sky import SkyMap
from astrolearn.sources import commands
from astrolearn.sources.fermi import LATSkySimulator

EDGES = [1, 3, 10, 100] * u.GeV


@pytest.fixture(scope="module")
def simulator():
    return LATSkySimulator(EDGES, nside=32, years=0.3, random_state=0)


@pytest.fixture(scope="module")
def sky(simulator):
    return simulator.sample()[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, simulator, sky):
    """A barely trained finder, and the same sky in the forms in which users have it."""
    folder = tmp_path_factory.mktemp("data")
    finder = PointSourceFinder(width=4, max_epochs=20, batch_size=4, lr=1e-2, random_state=0, threshold=0.9)
    finder.fit(sky).save(folder / "tiny.safetensors")
    sky.write(folder / "sky.fits")
    bare = SkyMap(sky.data, nest=True, energy_edges=sky.energy_edges, psf=sky.psf)
    bare.write(folder / "bare.fits")
    write_events(folder / "events.fits", sky)
    image = simulator.simulate_image(SkyCoord(0, 0, unit="deg", frame="galactic"), (64, 96), 0.25 * u.deg)
    edges = EDGES.to_value(u.keV)
    ebounds = fits.BinTableHDU(Table({"CHANNEL": [1, 2, 3], "E_MIN": edges[:-1], "E_MAX": edges[1:]}), name="EBOUNDS")
    fits.HDUList([fits.PrimaryHDU(image.data, image.wcs.to_header()), ebounds]).writeto(folder / "cube.fits")
    fits.HDUList([fits.PrimaryHDU(image.data[0], image.wcs.to_header())]).writeto(folder / "image.fits")
    return folder


def write_events(path, sky, **columns):
    """Photons at the centres of their pixels and bins, as an FT1 file."""
    energy_bin, pixel = np.nonzero(sky.data)
    times = sky.data[energy_bin, pixel].astype(int)
    coord = sky.pixel_coords(np.repeat(pixel, times))
    energy = np.sqrt(EDGES[:-1] * EDGES[1:])[np.repeat(energy_bin, times)]
    table = {"ENERGY": energy.to_value(u.MeV).astype(np.float32), "L": coord.l.deg, "B": coord.b.deg,
             "CONVERSION_TYPE": np.zeros(len(energy), np.int16)}
    table = Table({name: columns.get(name, values) for name, values in table.items() if name not in columns
                   or columns[name] is not None})
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(table, name="EVENTS")]).writeto(path)


@pytest.fixture
def run(capsys, folder):
    """Run a command with the tiny finder: exit status, standard output, standard error."""
    def run(command, *args, weights=folder / "tiny.safetensors"):
        status = main([command, *map(str, args), *(["--weights", str(weights)] if command == "find" else [])])
        return status, *capsys.readouterr()
    return run


@pytest.fixture
def fails(run, tmp_path):
    """Run a command that must end with one line, and write nothing."""
    def fails(command, *args, **options):
        before = sorted(tmp_path.rglob("*"))
        status, out, err = run(command, *args, **options)
        assert status == 2
        assert out == ""
        assert sorted(tmp_path.rglob("*")) == before
        prefix = f"astrolearn {command}: error: "
        assert err.startswith(prefix)
        assert err.count("\n") == 1
        return err.removeprefix(prefix).rstrip()
    return fails


# -- find -------------------------------------------------------------------------------------------------------------
def test_a_healpix_map(run, folder, tmp_path):
    files = [tmp_path / name for name in ("sources.ecsv", "sources.reg", "sky.png")]
    status, out, err = run("find", folder / "sky.fits", "-o", files[0], "--regions", files[1], "--plot", files[2])
    assert (status, err) == (0, "")
    finder = PointSourceFinder.load(folder / "tiny.safetensors")
    expected = finder.predict(SkyMap.read(folder / "sky.fits"))
    assert len(expected) > 10
    found = QTable.read(files[0])
    assert found.colnames == expected.colnames
    for name in set(expected.colnames) - {"coord"}:
        np.testing.assert_array_equal(found[name], expected[name])
        assert found[name].unit == expected[name].unit
    assert found["coord"].separation(expected["coord"]).max() < 1e-9 * u.deg
    assert found.meta["threshold"] == 0.9
    assert found.meta["input"] == str(folder / "sky.fits")
    circles = Regions.read(files[1], format="ds9")
    assert len(circles) == len(found)
    np.testing.assert_allclose(circles[0].radius.to_value(u.deg), 3 * found["coord_error"][0].value, rtol=1e-3)
    assert files[2].read_bytes().startswith(b"\x89PNG")
    lines = out.splitlines()
    assert lines[0] == f"{len(found)} sources found; the most significant:"
    assert lines[1].split() == ["l", "b", "error", "probability", "significance", "photons", "flux"]
    assert len(lines) == 3 + 1 + 10 + 1
    significance = [float(line.split()[4]) for line in lines[4:14]]
    assert significance == sorted(significance, reverse=True)
    assert lines[-1] == f"Written: {files[0]}, {files[1]}, {files[2]}"
    assert sorted(tmp_path.iterdir()) == sorted(files)


def test_photons_are_as_good_as_their_map(run, folder, tmp_path):
    assert run("find", folder / "bare.fits", "-o", tmp_path / "map.ecsv", "-q") == (0, "", "")
    options = ("--energy-edges", "1", "3", "10,", "100", "GeV", "--nside", "32", "--event-type", "front")
    status, out, _ = run("find", folder / "events.fits", "-o", tmp_path / "events.ecsv", *options)
    assert status == 0
    of_map, of_events = (QTable.read(tmp_path / name) for name in ("map.ecsv", "events.ecsv"))
    assert of_map["coord"].separation(of_events["coord"]).max() < 1e-6 * u.deg
    assert "flux" not in of_map.colnames
    assert "flux" not in out


def test_a_wcs_cube(run, folder, tmp_path):
    args = ("--energy-edges", "1", "10", "100", "--psf", "FRONT", "--threshold", "0.05", "--plot", tmp_path / "a.jpg")
    status, _, err = run("find", folder / "cube.fits", "-o", tmp_path / "cube.fits", *args)
    assert (status, err) == (0, "")
    found = QTable.read(tmp_path / "cube.fits")
    assert {"coord", "x_centroid", "y_centroid"} <= set(found.colnames)
    assert found["bin_counts"].shape == (len(found), 2)
    assert found.meta["THRESHLD"] == 0.05
    assert (tmp_path / "a.jpg").exists()


def test_an_image_says_nothing_of_its_energies(run, fails, folder, tmp_path):
    output = ("-o", tmp_path / "image.ecsv")
    assert "neither a PSF nor energy_edges" in fails("find", folder / "image.fits", *output)
    assert "give them with --energy-edges" in fails("find", folder / "image.fits", *output, "--psf", "FRONT")
    message = fails("find", folder / "image.fits", *output, "--energy-edges", "1", "2", "3")
    assert message.endswith("there are 3 edges for 1")
    assert run("find", folder / "image.fits", *output, "--energy-edges", "1", "3")[0] == 0
    assert run("find", folder / "image.fits", *output, "--psf", "0.5", "deg", "--overwrite")[0] == 0
    assert run("find", folder / "image.fits", *output, "--psf", "30", "arcmin", "--overwrite")[0] == 0


@pytest.fixture
def exposure_file(tmp_path):
    """10^11 cm2 s everywhere, as gtexpcube2 writes it."""
    energies = np.geomspace(300, 1e6, 8)
    columns = {f"ENERGY{i}": np.full(768, 1e11) for i in range(1, 9)}
    cube = fits.BinTableHDU(Table(columns), name="HPXEXPOSURES")
    cube.header.update({"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": 8})
    energies = fits.BinTableHDU(Table({"Energy": energies}), name="ENERGIES")
    fits.HDUList([fits.PrimaryHDU(), cube, energies]).writeto(tmp_path / "exposure.fits")
    return tmp_path / "exposure.fits"


@pytest.mark.parametrize("counts", ["events.fits", "cube.fits"])
def test_mask_and_exposure(run, folder, tmp_path, exposure_file, counts):
    (tmp_path / "south.reg").write_text("galactic\nbox(0, -45, 360, 90)\n")
    binning = ("--energy-edges", "1", "3", "10", "100", "--nside", "32") if counts == "events.fits" else ()
    status, out, _ = run("find", folder / counts, "-o", tmp_path / "north.ecsv", "--mask", tmp_path / "south.reg",
                         "--exposure", exposure_file, "--threshold", "0.02", "--psf", "FRONT+BACK", *binning)
    assert status == 0
    assert "flux" in out
    found = QTable.read(tmp_path / "north.ecsv")
    # pixels whose centre is masked hold no source; others reach down to half their diagonal
    assert found["coord"].galactic.b.min() > -1.3 * u.deg
    np.testing.assert_allclose(found["bin_flux"].value, found["bin_counts"].value / 1e11, rtol=1e-3)


def test_files_are_replaced_only_on_request(run, fails, folder, tmp_path):
    path = tmp_path / "sources.ecsv"
    path.write_text("mine")
    assert "exists already" in fails("find", folder / "sky.fits", "-o", path)
    assert path.read_text() == "mine"
    assert run("find", folder / "sky.fits", "-o", path, "--overwrite")[0] == 0
    assert len(QTable.read(path)) > 10


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["to_regions", "save_figure"])
def test_no_file_is_written_if_one_cannot_be(run, folder, tmp_path, monkeypatch, name, overwrite):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    files = {suffix: tmp_path / f"old{suffix}" for suffix in (".ecsv", ".reg", ".png")}
    if overwrite:
        for path in files.values():
            path.write_text("old")
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    monkeypatch.setattr(commands, name, fail)
    status, out, err = run("find", folder / "sky.fits", "-o", files[".ecsv"], "--regions", files[".reg"], "--plot",
                           files[".png"], *(["--overwrite"] if overwrite else []))
    assert (status, out, err) == (2, "", "astrolearn find: error: disk full\n")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


def test_maps_of_several_years_are_summed(run, folder, sky, tmp_path):
    for year, share in enumerate((0.25, 0.75)):
        part = SkyMap(sky.data * np.float32(share), nest=True, energy_edges=EDGES, psf=sky.psf)
        part.write(tmp_path / f"{year}.fits")
    paths = tmp_path / "0.fits", tmp_path / "1.fits"
    assert run("find", *paths, "-o", tmp_path / "parts.ecsv", "-q") == (0, "", "")
    assert run("find", folder / "bare.fits", "-o", tmp_path / "whole.ecsv", "-q") == (0, "", "")
    parts, whole = (QTable.read(tmp_path / name) for name in ("parts.ecsv", "whole.ecsv"))
    np.testing.assert_allclose(parts["counts"].value, whole["counts"].value, rtol=1e-4)
    assert parts.meta["input"] == f"{paths[0]}, {paths[1]}"


def test_a_file_after_classify_is_no_map(fails, folder, tmp_path):
    """The order of the words is the user's to get wrong: the file is taken for the classifier's weights."""
    message = fails("find", "--classify", folder / "sky.fits", "-o", tmp_path / "a.ecsv")
    assert message == "the following arguments are required: MAP_OR_EVENTS"


def test_no_sources(run, folder, tmp_path):
    status, out, _ = run("find", folder / "sky.fits", "-o", tmp_path / "none.ecsv", "--threshold", "1", "--regions",
                         tmp_path / "none.reg", "--plot", tmp_path / "none.png")
    assert status == 0
    assert out.startswith("No sources found.\n")
    assert len(QTable.read(tmp_path / "none.ecsv")) == 0


def test_progress_is_shown_on_a_terminal(run, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    _, _, err = run("find", folder / "sky.fits", "-o", tmp_path / "a.ecsv")
    for text in (f"reading {folder / 'sky.fits'} ...", "fitting the background: 100%", "summing under the PSF: 100%",
                 "measuring sources: 100%", "writing files ..."):
        assert text in err
    assert run("find", folder / "sky.fits", "-o", tmp_path / "b.ecsv", "--quiet") == (0, "", "")


# -- what can be wrong ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("counts", "options", "message"), [
    ("none.fits", "", "none.fits: no such file"),
    ("text.fits", "", "text.fits: not a readable FITS file"),
    ("cut.fits", "", "cut.fits: not a readable FITS file"),
    ("cut_events.fits", "", "cut_events.fits: not a readable FITS file"),
    ("", "", "is a folder"),
    ("nothing.fits", "", "nothing.fits: neither a counts map nor a photon list"),
    ("no_energy.fits", "", "no_energy.fits: the photon list has no column ENERGY; it has L, B, CONVERSION_TYPE"),
    ("no_position.fits", "", "no_position.fits: the photon list has no positions"),
    ("no_type.fits", "--event-type BACK", "no_type.fits: the photon list has no column CONVERSION_TYPE"),
    ("events.fits", "--event-type BACK", "events.fits: no back photons"),
    ("length.fits", "", "length.fits: column ENERGY has the unit 'cm'"),
    ("empty.fits", "", "empty.fits: the photon list is empty"),
    ("flux.fits", "", "the map is in Jy"),
    ("negative.fits", "", "negative counts"),
    ("events.fits", "--energy-edges 3 1 GeV", "energy_edges must be positive, finite and increasing"),
    ("events.fits", "--energy-edges 1 3 cm", "energy_edges has the unit 'cm'"),
    ("events.fits", "--energy-edges one two", "not a number"),
    ("events.fits", "--energy-edges 500 900", "events.fits: no photons between 500"),
    ("sky.fits", "--energy-edges 1 2 100", "cannot merge energy bins"),
    ("events.fits", "--nside 100", "events.fits: nside=100"),
    ("events.fits", "--nside many", "argument --nside: invalid int value"),
    ("sky.fits", "--nside 64", "--nside is for photon lists"),
    ("sky.fits", "--event-type FRONT", "--event-type is for photon lists"),
    ("sky.fits", "--threshold 2", "'threshold' parameter"),
    ("sky.fits", "--mask {folder}/none.reg", "none.reg: no such file"),
    ("sky.fits", "--mask {folder}/text.fits", "cannot read regions"),
    ("sky.fits", "--mask galactic;circle(0,0,181)", "no valid pixels"),
    ("sky.fits", "--psf PSF9", "--psf 'PSF9' is neither an event type"),
    ("sky.fits", "--psf 1 2 GeV", "--psf '1 2 GeV' is neither an event type"),
    ("sky.fits", "--psf 0.1 0.2", "psf has 2 energy bins, the map 3"),
    ("sky.fits", "--exposure {folder}/none.fits", "none.fits: no such file"),
    ("sky.fits", "--exposure {folder}/bare.fits", "bare.fits: not an exposure cube"),
    ("sky.fits", "--plot {tmp}/sky.doc", "sky.doc: the name of this file must end in .png"),
    ("sky.fits", "--regions {tmp}/none/a.reg", "there is no folder"),
])
def test_wrong_input_is_one_line(fails, folder, tmp_path, bad_files, counts, options, message):
    options = options.format(folder=folder, tmp=tmp_path).split()
    assert message in fails("find", folder / counts, "-o", tmp_path / "sources.ecsv", *options)


@pytest.fixture(scope="module")
def bad_files(folder, sky):
    (folder / "text.fits").write_text("circle circle\n")
    (folder / "cut.fits").write_bytes((folder / "sky.fits").read_bytes()[:200_000])
    (folder / "cut_events.fits").write_bytes((folder / "events.fits").read_bytes()[:200_000])
    fits.PrimaryHDU().writeto(folder / "nothing.fits")
    write_events(folder / "no_energy.fits", sky, ENERGY=None)
    write_events(folder / "no_position.fits", sky, L=None)
    write_events(folder / "no_type.fits", sky, CONVERSION_TYPE=None)
    write_events(folder / "empty.fits", SkyMap(np.zeros((3, 768))))
    with fits.open(folder / "events.fits") as hdus:
        hdus[1].columns["ENERGY"].unit = "cm"
        hdus.writeto(folder / "length.fits")
    SkyMap(sky.data[0], unit="Jy", energy_edges=[1, 3]).write(folder / "flux.fits")
    SkyMap(sky.data[0] - 1000, energy_edges=[1, 3]).write(folder / "negative.fits")


@pytest.mark.parametrize(("weights", "message"), [
    ("no-such-sky", "no pretrained weights 'no-such-sky'"),
    ("{folder}/none.safetensors", "there is no file"),
    ("{folder}/sky.fits", "not a whole weight file"),
])
def test_weights_that_are_none(fails, folder, tmp_path, weights, message):
    output = ("-o", tmp_path / "sources.ecsv")
    assert message in fails("find", folder / "sky.fits", *output, weights=weights.format(folder=folder))


def test_outputs_that_clash(fails, folder, tmp_path):
    same = tmp_path / "sky.ecsv"
    assert "must end in .reg or .crtf" in fails("find", folder / "sky.fits", "-o", same, "--regions", same)
    assert "this file is read, too" in fails("find", folder / "sky.fits", "-o", folder / "sky.fits", "--overwrite")
    assert "required: -o/--output" in fails("find", folder / "sky.fits")


def test_pictures_need_matplotlib(fails, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(console, "find_spec", lambda name: None)
    message = fails("find", folder / "sky.fits", "-o", tmp_path / "a.ecsv", "--plot", tmp_path / "a.png")
    assert message == 'pictures need matplotlib: pip install "astrolearn[plot]"'
    assert fails("demo", "--out", tmp_path / "demo") == message


# -- the command itself -----------------------------------------------------------------------------------------------
def test_warnings_are_one_line_each(run, folder, tmp_path, monkeypatch):
    def warn(*args, **kwargs):
        warnings.warn("the sky is\nfalling", UserWarning, stacklevel=2)
        raise ValueError

    monkeypatch.setattr(commands, "read_map", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        _, _, err = run("find", folder / "sky.fits", "-o", tmp_path / "a.ecsv")
    assert err == "astrolearn find: warning: the sky is falling\nastrolearn find: error: ValueError\n"


def test_interruption(run, folder, tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "save_figure", interrupt)
    status, _, err = run("find", folder / "sky.fits", "-o", tmp_path / "a.ecsv", "--plot", tmp_path / "a.png")
    assert (status, err) == (130, "\nastrolearn find: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_bugs_are_not_hidden(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "read_map", lambda path: None)
    with pytest.raises(TypeError):
        main(["find", str(folder / "sky.fits"), "-o", str(tmp_path / "a.ecsv"), "--weights",
              str(folder / "tiny.safetensors")])


@pytest.mark.parametrize(("args", "status", "text"), [
    (["--help"], 0, "find point sources"), (["find", "--help"], 0, "MAP_OR_EVENTS"),
    (["find", "--help"], 0, "--classify [NAME_OR_FILE]"), (["--version"], 0, "astrolearn 0"),
    ([], 2, "astrolearn: error: the following arguments are required: COMMAND"), (["fnd"], 2, "choose from"),
    (["find", "a.fits", "-o", "a.ecsv", "--colour"], 2, "astrolearn: error: unrecognized arguments: --colour"),
])
def test_help_and_version(capsys, args, status, text):
    assert main(args) == status
    out, err = capsys.readouterr()
    assert text in (err if status else out)
    assert (err if status else out).count("error") == bool(status)


def test_help_is_fast():
    """Nothing heavy is imported before a command runs."""
    code = "import sys; from astrolearn.cli import main; main(['find', '--help']); " \
           "print([name for name in ('torch', 'astropy', 'healpy', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")


# -- demo -------------------------------------------------------------------------------------------------------------
def test_demo(folder, tmp_path, capsys):
    out = tmp_path / "new" / "demo"
    catalogue, skymap = commands.demo(out, nside=32, weights=folder / "tiny.safetensors")
    text = capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["sky.png", "sources.ecsv", "sources.reg"]
    assert len(QTable.read(out / "sources.ecsv")) == len(catalogue) == len(Regions.read(out / "sources.reg"))
    lines = text.splitlines()
    assert lines[0].split() == ["whole", "sky", "|b|", ">", "20", "deg"]
    assert lines[1].split() == ["flux", ">", "1", "GeV", *["purity", "completeness"] * 2]
    assert [line.split()[0] for line in lines[3:10]] == ["0.695", "1.27", "2.34", "4.28", "7.85", "14.4", "26"]
    assert f"({len(catalogue)})" in lines[11]
    assert lines[12].startswith("90 % found from")
    assert lines[-1] == f"Written: {out / 'sources.ecsv'}, {out / 'sources.reg'}, {out / 'sky.png'}"
    assert skymap.meta["years"] == 10

    # the same seed gives the same sky, and a folder in use is left alone
    with pytest.raises(FileExistsError, match="not empty"):
        commands.demo(out, nside=32, weights=folder / "tiny.safetensors")
    again, _ = commands.demo(out, nside=32, weights=folder / "tiny.safetensors", overwrite=True, quiet=True)
    assert capsys.readouterr().out == ""
    np.testing.assert_array_equal(again["significance"], catalogue["significance"])
    assert len(list(out.iterdir())) == 3


def test_demo_needs_a_folder_of_its_own(fails, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert "is not empty" in fails("demo", "--out", tmp_path)
    assert "is a file" in fails("demo", "--out", tmp_path / "notes.txt")
