"""The command ``astrolearn detect`` and the files that it reads."""

import re

import astropy.units as u
import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from astrolearn import EMRIDetector
from astrolearn.cli import main
from astrolearn.emri import EMRIPopulation, noise_psd
from astrolearn.emri.io import read_strain

N = 8192
EASY = {"n_samples": N, "mass_1": (1e6, 2e6), "time_to_plunge": (30, 60), "e_plunge": 0.01}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    population = EMRIPopulation(snr=(30, 50), **EASY)
    detector = EMRIDetector(n_signals=20, n_draws=1, n_noise=60, max_epochs=4, random_state=0,
                            false_alarm_probability=0.05)
    detector.fit(population).save(path)
    return path


@pytest.fixture(scope="module")
def white():
    rng = np.random.default_rng(0)
    signal = np.asarray(EMRIPopulation(snr=60, **EASY).sample(1, 50)["signal"])
    return np.concatenate([rng.normal(size=(1, 2, N)), rng.normal(size=(1, 2, N)) + signal])


@pytest.fixture(scope="module")
def strain(white):
    f = np.fft.rfftfreq(N, 30.0)
    colour = np.append(0, np.sqrt(noise_psd(f[1:]).value / 60))
    return np.fft.irfft(np.fft.rfft(white) * colour, N)


def write_hdf5(path, strain, **attributes):
    with h5py.File(path, "w") as file:
        file["strain"] = strain
        file.attrs.update(attributes)


def test_strain_to_table(tmp_path, weights, strain, capsys):
    write_hdf5(tmp_path / "strain.hdf5", strain, dt=30.0)
    out = tmp_path / "detections.ecsv"
    status = main(["detect", str(tmp_path / "strain.hdf5"), "-o", str(out), "--weights", str(weights),
                   "--plot", str(tmp_path / "spectrogram.png")])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    table = QTable.read(out)
    assert table.colnames[:2] == ["series", "statistic"]
    assert list(table["detected"]) == [False, True]
    assert "a signal is detected in 1 of 2 series at a false-alarm probability of 0.05" in printed.out
    assert "<0.016" in printed.out
    assert (tmp_path / "spectrogram.png").stat().st_size > 10000


def test_measured_density_and_fits(tmp_path, weights, strain, white):
    columns = [fits.Column("TIME", "D", unit="s", array=30.0 * np.arange(N)),
               fits.Column("h_I", "D", array=strain[1, 0]), fits.Column("h_II", "D", array=strain[1, 1])]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "strain.fits")
    f = np.geomspace(5e-5, 0.02, 500) * u.Hz
    QTable({"frequency": f, "psd": noise_psd(f)}).write(tmp_path / "psd.ecsv")
    fits.PrimaryHDU(white[1], fits.Header({"DT": 30.0})).writeto(tmp_path / "white.fits")
    rows = []
    for name, options in (("strain.fits", []), ("strain.fits", ["--psd", str(tmp_path / "psd.ecsv")]),
                          ("white.fits", ["--whitened"])):
        out = tmp_path / "out.fits"
        assert main(["detect", str(tmp_path / name), "-o", str(out), "--weights", str(weights), "-q", "--overwrite",
                     *options]) == 0
        rows.append(QTable.read(out)["statistic"][0])
    np.testing.assert_allclose(rows, rows[0], rtol=0.05)


def test_layouts(tmp_path):
    strain = np.arange(16.0).reshape(2, 8)
    write_hdf5(tmp_path / "a.h5", strain, sample_interval="0.5 min")
    with h5py.File(tmp_path / "b.hdf5", "w") as file:
        group = file.create_group("tianqin")
        group["t"], group["I"], group["II"] = 30.0 * np.arange(8), strain[0], strain[1]
    fits.PrimaryHDU(strain[None]).writeto(tmp_path / "c.fits")
    with h5py.File(tmp_path / "d.hdf5", "w") as file:
        file["time"], file["I"], file["II"] = 0.5 * np.arange(8), strain[0], strain[1]
        file["time"].attrs["units"], file["I"].attrs["unit"] = np.bytes_("min"), "strain"
    write_hdf5(tmp_path / "e.h5", strain, dt=np.array([30.0]))
    header = fits.Header({"CDELT1": 0.5, "CUNIT1": "min"})
    fits.PrimaryHDU(strain[None], header).writeto(tmp_path / "f.fits")
    for name, interval in (("a.h5", 30.0), ("b.hdf5", 30.0), ("c.fits", None), ("d.hdf5", 30.0), ("e.h5", 30.0),
                           ("f.fits", 30.0)):
        series, stated = read_strain(tmp_path / name)
        np.testing.assert_array_equal(series, strain[None])
        assert stated == interval


@pytest.mark.parametrize(("make", "options", "message"), [
    (lambda path, x: write_hdf5(path, x), [], "does not state its sampling interval"),
    (lambda path, x: write_hdf5(path, x, dt=10.0), [], "sampled every 10 s, but the weights are for 30 s"),
    (lambda path, x: write_hdf5(path, x, dt=30.0), ["--sample-interval", "15"], "every 30 s, not every 15 s"),
    (lambda path, x: write_hdf5(path, x, dt=30.0), ["--whitened"], "whiten the strain first"),
    (lambda path, x: write_hdf5(path, x, dt=30.0), ["--whitened", "--psd", "x"], "leave out --whitened or --psd"),
    (lambda path, x: write_hdf5(path, x, dt="soon"), [], "dt = 'soon' is not a time"),
    (lambda path, x: write_hdf5(path, x, dt=30.0), ["--false-alarm-probability", "1e-6"], "cannot be measured with 60"),
    (lambda path, x: write_hdf5(path, x[:1, 0]), ["--sample-interval", "30 s"], "no data sets of two channels"),
    (lambda path, x: path.write_text("strain"), [], "file signature not found"),
    (lambda path, x: write_hdf5(path, x, dt=30.0), ["--psd", "nowhere.ecsv"], "nowhere.ecsv: no such file"),
    (lambda path, x: write_hdf5(path, x, dt=30.0), ["--psd", __file__], "no table with the columns frequency and psd"),
    (lambda path, x: write_hdf5(path, x, dt=0.0), [], "interval of 0 s is not possible"),
    (lambda path, x: write_hdf5(path, x.transpose(0, 2, 1)), [], "holds no data sets of two channels"),
    (lambda path, x: None, [], "no such file"),
])
def test_bad_files_end_with_one_line(tmp_path, weights, strain, capsys, make, options, message):
    path, out = tmp_path / "strain.h5", tmp_path / "out.ecsv"
    make(path, strain)
    assert main(["detect", str(path), "-o", str(out), "--weights", str(weights), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("astrolearn detect: error: ")
    assert error.count("\n") == 1
    assert re.search(message, error)
    assert not out.exists()


def test_two_series_in_one_file(tmp_path):
    for name, names in (("a.h5", ("first/strain", "second/strain")), ("b.h5", ("noise", "strain"))):
        with h5py.File(tmp_path / name, "w") as file:
            for one in names:
                file[one] = np.ones((2, 8))
        with pytest.raises(ValueError, match=f"holds 2 data sets of two channels.*{names[0]}.*there must be one"):
            read_strain(tmp_path / name)
    fits.HDUList([fits.PrimaryHDU(np.ones((2, 8))), fits.ImageHDU(np.ones((2, 8)))]).writeto(tmp_path / "c.fits")
    with pytest.raises(ValueError, match="holds 2 images or tables; there must be one"):
        read_strain(tmp_path / "c.fits")


@pytest.mark.parametrize(("times", "dt", "message"), [
    (30.0 * np.arange(5), None, "t has 5 times for 8 samples"),
    (10.0 * np.arange(8), 30.0, "10 s apart, but it states an interval of 30 s"),
    (np.arange(8.0) ** 2, None, "not regular"),
])
@pytest.mark.parametrize("as_columns", [True, False])
def test_times_that_do_not_fit(tmp_path, times, dt, message, as_columns):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["t"] = times
        if as_columns:
            file["I"], file["II"] = np.ones(8), np.ones(8)
        else:
            file["strain"] = np.ones((2, 8))
        if dt is not None:
            file.attrs["dt"] = dt
    with pytest.raises(ValueError, match=message):
        read_strain(tmp_path / "a.h5")


def test_units_and_lengths_are_told_with_the_file(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["t"], file["I"], file["II"] = np.arange(8.0), np.ones(8), np.ones(8)
        file["t"].attrs["unit"] = "fortnights"
    with pytest.raises(ValueError, match="a.h5: the unit 'fortnights' of t"):
        read_strain(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["I"], file["II"] = np.ones(8), np.ones(7)
    with pytest.raises(ValueError, match="b.h5: the channels I and II have 8 and 7 samples"):
        read_strain(tmp_path / "b.h5")


def test_irregular_times(tmp_path):
    time = 30.0 * np.arange(8)
    time[5:] += 7
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["t"], file["I"], file["II"] = time, np.ones(8), np.ones(8)
    with pytest.raises(ValueError, match="not regular"):
        read_strain(tmp_path / "a.h5")
    columns = [fits.Column("I", "D", unit="m", array=np.ones(4)), fits.Column("II", "D", array=np.ones(4))]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "b.fits")
    with pytest.raises(u.UnitConversionError, match="column I has the unit 'm'"):
        read_strain(tmp_path / "b.fits")
    fits.PrimaryHDU().writeto(tmp_path / "c.fits")
    with pytest.raises(ValueError, match="holds no images or tables"):
        read_strain(tmp_path / "c.fits")
