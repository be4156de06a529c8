"""The command ``astrolearn counts``, from files to files; a stand-in takes the place of the trained network."""

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from astrolearn.cli import main
from astrolearn.core.tables import SampleTable
from astrolearn.counts import Instrument, RadioSkySimulator, ReferenceCounts, commands, read_counts
from astrolearn.counts.images import read_radio_images
from astrolearn.counts.regressor import SourceCountRegressor

LOG_FLUX = np.array([-6.0, -5.0, -4.0])
SIGMA = np.array([0.39, 0.2, 0.01])


class StandIn:
    """Reads images as the estimator does and knows the counts of three bins beforehand."""

    prior_mean_ = np.array([14.0, 12.5, 10.5])

    def __init__(self):
        self.calls, self.prior_driven = [], SIGMA > 0.28

    def predict_counts(self, X, groups=None, **given):
        images = read_radio_images(X, trained=Instrument.preset("emu"), noise_range=(0, 1e-3), **given)
        self.calls.append({"X": X, "images": images} | given)
        flux = 10**LOG_FLUX * u.Jy
        n = ReferenceCounts(frequency="944 MHz")(flux)
        meta = {
            "frequency": images.frequency, "beam": u.Quantity([images.beam_major, images.beam_minor]),
            "pixel_scale": images.pixel_scale, "area": images.area, "noise": images.noise,
            "covariance": np.diag(SIGMA**2)[None], "astrolearn": "0.1",
        }  # fmt: skip
        return SampleTable({
            "group": [0, 0, 0], "S_lo": flux / 10**0.5, "S_mid": flux, "S_hi": flux * 10**0.5, "n": n,
            "n_q16": n * 10**-SIGMA, "n_q84": n * 10**SIGMA, "euclidean": n * flux**2.5, "prior_width": [0.4, 0.4, 0.4],
            "information": 1 - (SIGMA / 0.4) ** 2, "prior_driven": self.prior_driven,
        }, meta=meta)  # fmt: skip


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    sky = RadioSkySimulator(n_pixels=64).sample(1, random_state=0)[0]
    header = sky.wcs.to_header()
    header.update({name: sky.meta[name] for name in ("BMAJ", "BMIN", "FREQ", "NOISE")} | {"BUNIT": "JY/BEAM"})
    path = tmp_path_factory.mktemp("sky") / "sky.fits"
    fits.PrimaryHDU(sky.data, header).writeto(path)
    return path


@pytest.fixture
def estimator(monkeypatch):
    estimator = StandIn()
    monkeypatch.setattr(commands, "load_weights", lambda *_: estimator)
    return estimator


@pytest.mark.parametrize("suffix", ["ecsv", "fits"])
def test_image_to_counts(tmp_path, image, estimator, capsys, suffix):
    files = [tmp_path / name for name in (f"counts.{suffix}", "counts.png", "counts.txt")]
    options = ["-o", str(files[0]), "--plot", str(files[1]), "--dezotti", str(files[2])]
    status = main(["counts", "--weights", "stub", str(image), *options])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    result, expected = QTable.read(files[0]), estimator.predict_counts([image])
    assert result.colnames == [*expected.colnames, "covariance"]
    for name in expected.colnames:
        np.testing.assert_allclose(u.Quantity(result[name]).value, u.Quantity(expected[name]).value, rtol=1e-12)
        assert getattr(result[name], "unit", None) == getattr(expected[name], "unit", None)
    np.testing.assert_allclose(result["covariance"], np.diag(SIGMA**2))
    meta = {key.upper(): value for key, value in result.meta.items()}
    plain = {"FREQ": 944e6, "BMAJ": 15 / 3600, "BMIN": 15 / 3600, "PIXSCALE": 5, "NOISE": 25e-6,
             "AREA": 64**2 * (5 * u.arcsec).to_value(u.rad) ** 2}  # fmt: skip
    assert {key: meta[key] for key in plain} == pytest.approx(plain)
    assert (meta["INPUT"], meta["WEIGHTS"]) == (str(image), "stub")
    assert files[1].read_bytes().startswith(b"\x89PNG")
    measured = read_counts(files[2])
    np.testing.assert_allclose(np.log10(measured["S"].value), [-5, -4], atol=1e-4)
    np.testing.assert_allclose(measured["n"], expected["n"][1:], rtol=1e-4)
    np.testing.assert_allclose(measured["n_error_up"], (expected["n_q84"] - expected["n"])[1:], rtol=1e-4)
    lines = out.splitlines()
    assert lines[0] == ("0.0079 deg2 at 944 MHz with a noise of 25 uJy/beam: 2 of 3 bins are measured, the others are "
                        "driven by the prior:")
    assert lines[1].split() == ["S", "(Jy)", "n", "(1/(Jy", "sr))", "16", "%", "84", "%", "S^2.5", "n", "information",
                                "measured"]
    assert [line.split()[0] for line in lines[3:6]] == ["1e-06", "1e-05", "0.0001"]
    assert [line.split()[-1] for line in lines[3:6]] == ["no", "yes", "yes"]
    assert lines[-1] == f"Written: {files[0]}, {files[1]}, {files[2]}"


def test_a_real_estimator(tmp_path, image, capsys):
    rng = np.random.default_rng(0)
    weights = tmp_path / "tiny.safetensors"
    regressor = SourceCountRegressor(flux_bins=10.0 ** np.arange(-6, -2), max_epochs=2, random_state=0)
    n = 10 ** rng.normal([14, 12, 9], 0.4, (10, 3))
    regressor.fit(rng.normal(0, 25e-6, (10, 32, 32)), n / (u.Jy * u.sr)).save(weights)
    files = [tmp_path / "a.fits", tmp_path / "a.png"]
    options = ["-o", str(files[0]), "--plot", str(files[1]), "--weights", str(weights)]
    assert main(["counts", "--weights", "stub", str(image), *options]) == 0
    assert "of 3 bins are measured" in capsys.readouterr().out
    expected = SourceCountRegressor.load(weights).predict_counts([image])
    np.testing.assert_allclose(QTable.read(files[0])["n"].value, expected["n"].value)
    assert files[1].stat().st_size > 10000


def test_options_take_the_place_of_the_header(tmp_path, image, estimator, capsys):
    options = ["--noise", "26", "uJy/beam", "--beam", "15.1,", "14.9", "arcsec", "--pixel-scale", "5.02", "--frequency",
               "945", "MHz", "-q"]  # fmt: skip
    assert main(["counts", "--weights", "stub", str(image), "-o", str(tmp_path / "a.ecsv"), *options]) == 0
    assert capsys.readouterr() == ("", "")
    images = estimator.calls[0]["images"]
    assert (images.beam_major, images.beam_minor) == (15.1 * u.arcsec, 14.9 * u.arcsec)
    assert images.pixel_scale == 5.02 * u.arcsec
    assert images.frequency.to_value(u.MHz) == pytest.approx(945)
    assert images.noise.to_value(u.uJy / u.beam) == pytest.approx([26])
    meta = QTable.read(tmp_path / "a.ecsv").meta
    assert (meta["BMAJ"], meta["BMIN"]) == pytest.approx((15.1 / 3600, 14.9 / 3600))


def test_python_takes_quantities(tmp_path, image, estimator):
    table = commands.counts(image, tmp_path / "a.fits", weights="stub", beam=15 * u.arcsec, noise=25e-6, quiet=True)
    assert len(table) == 3
    assert estimator.calls[0]["beam"] == 15 * u.arcsec
    assert estimator.calls[0]["noise"] == 25e-6 * u.Jy / u.beam
    assert estimator.calls[0]["frequency"] is None


def test_noise_that_is_not_known(tmp_path, image, estimator, capsys):
    path = tmp_path / "sky.fits"
    with fits.open(image) as hdus:
        del hdus[0].header["NOISE"]
        hdus.writeto(path)
    for suffix, options in (("ecsv", []), ("fits", ["--plot", str(tmp_path / "a.pdf")])):
        out = tmp_path / f"a.{suffix}"
        assert main(["counts", "--weights", "stub", str(path), "-o", str(out), *options]) == 0
        assert "with a noise that is not known" in capsys.readouterr().out
        assert "NOISE" not in QTable.read(out).meta


def test_published_counts_in_the_picture(tmp_path, image, estimator, monkeypatch):
    published = tmp_path / "published.txt"
    published.write_text("-5 4 1 1\n-4 8 1 1\n")
    drawn = {}

    def draw(table, **options):
        drawn.update(options)
        return plot_counts(table, **options)

    plot_counts = commands.plot_counts
    monkeypatch.setattr(commands, "plot_counts", draw)
    options = ["--published", str(published), "--published-frequency", "1.4"]
    files = ["-o", str(tmp_path / "a.ecsv"), "--plot", str(tmp_path / "a.svg")]
    assert main(["counts", "--weights", "stub", str(image), *files, *options]) == 0
    np.testing.assert_allclose(drawn["published"]["S"].value, [1e-5, 1e-4])
    assert drawn["published_frequency"] == 1.4 * u.GHz
    np.testing.assert_allclose(np.log10(drawn["reference"].to_value(1 / (u.Jy * u.sr))), estimator.prior_mean_)


@pytest.mark.parametrize(("options", "message"), [
    ("--published {sky}", "--published is for the picture: name that with --plot"),
    ("--published-frequency 1.4", "name their file with --published"),
    ("--published {sky} --plot {tmp}/a.png", "sky.fits is not a text file with counts"),
    ("--published none.txt --plot {tmp}/a.png", "none.txt: no such file"),
    ("--plot {tmp}/a.doc", "a.doc: the name of this file must end in .png"),
    ("--dezotti {tmp}/a.ecsv", "a.ecsv: the name of this file must end in .txt or .dat"),
    ("--beam wide arcsec", "--beam='wide arcsec' is not a number with a unit"),
    ("--beam 15 14 Jy", "--beam has the unit 'Jy'"),
    ("--beam 20", "beam_major=20 arcsec; this was trained for 15 arcsec"),
    ("--noise 25 uJy", "--noise has the unit 'uJy'"),
    ("--noise 25", "noise of 25 Jy/beam; this was trained for"),
    ("--pixel-scale 2 arcsec", "pixel_scale=2 arcsec; this was trained for 5 arcsec"),
    ("--frequency 3 GHz", "frequency=3 GHz; this was trained for 0.944 GHz"),
])  # fmt: skip
def test_options_that_cannot_be_used(tmp_path, image, estimator, capsys, options, message):
    options = options.format(tmp=tmp_path, sky=image).split()
    assert main(["counts", "--weights", "stub", str(image), "-o", str(tmp_path / "out.ecsv"), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("astrolearn counts: error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not list(tmp_path.iterdir())


def test_weights_that_are_none(tmp_path, image, capsys):
    assert main(["counts", str(image), "-o", str(tmp_path / "a.ecsv"), "--weights", "nothing"]) == 2
    assert "no pretrained weights 'nothing'" in capsys.readouterr().err
    assert main(["counts", str(image), "-o", str(tmp_path / "a.ecsv"), "--weights", str(image)]) == 2
    assert "not a whole weight file" in capsys.readouterr().err


def test_nothing_is_measured(tmp_path, image, estimator, capsys):
    estimator.prior_driven = np.full(3, True)
    files = [str(tmp_path / name) for name in ("a.ecsv", "a.txt")]
    assert main(["counts", "--weights", "stub", str(image), "-o", files[0], "--dezotti", files[1]]) == 2
    assert "a.txt would be empty: no bin of this image is measured" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(["counts", "--weights", "stub", str(image), "-o", files[0]]) == 0
    assert "0 of 3 bins are measured" in capsys.readouterr().out


def test_files_are_replaced_only_on_request(tmp_path, image, estimator, capsys):
    out = tmp_path / "a.ecsv"
    out.write_text("mine")
    assert main(["counts", "--weights", "stub", str(image), "-o", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["counts", "--weights", "stub", str(tmp_path / "none.fits"), "-o", str(out), "--overwrite"]) == 2
    assert "none.fits: no such file" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main(["counts", "--weights", "stub", str(image), "-o", str(out), "--overwrite"]) == 0
    assert len(QTable.read(out)) == 3
