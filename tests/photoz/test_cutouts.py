"""Images from SDSS: kept, taken up again, and recognised when they are none."""

import bz2
import io

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS
from PIL import Image

from astrolearn.photoz import cutouts, fetch_sdss_cutouts, fetch_sdss_galaxies

COORD = SkyCoord([10.0, 150.0, 200.0], [1.0, 2.0, 3.0], unit="deg")


def jpg(value=None, size=64):
    """The bytes of a picture of noise, or of one value."""
    rng = np.random.default_rng(0 if value is None else value)
    pixels = rng.integers(0, 60, (size, size, 3)) if value is None else np.full((size, size, 3), value)
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


class Server:
    """Gives the answers in turn, the last one for ever; errors are raised."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def __call__(self, url, timeout):
        self.asked.append(url)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """No test waits; what would have been waited."""
    seconds = []
    monkeypatch.setattr("astrolearn.photoz.cutouts.time.sleep", seconds.append)
    return seconds


def test_pictures(tmp_path, waits):
    server = Server(jpg())
    table = fetch_sdss_cutouts(COORD, 64, "0.3 arcsec", folder=tmp_path / "images", download=server, wait=0.2)
    assert table["image"].shape == (3, 64, 64, 3)
    assert table["image"].dtype == np.uint8
    assert table["ok"].all()
    assert waits == [0.2] * 3
    assert server.asked[0].startswith("https://skyserver.sdss.org/dr17/SkyServerWS/ImgCutout/getjpeg?ra=10.000000")
    assert "scale=0.3000&width=64&height=64" in server.asked[0]
    assert "opt" not in server.asked[0]
    assert table.meta["scale"] == 0.3 * u.arcsec


def test_interrupted_work_goes_on(tmp_path):
    broken = Server(jpg(), OSError("connection reset"))
    with pytest.raises(OSError, match="SDSS gave no usable answer in 2 attempts: connection reset"):
        fetch_sdss_cutouts(COORD, folder=tmp_path, download=broken, retries=1)
    server = Server(jpg())
    table = fetch_sdss_cutouts(COORD, folder=tmp_path, download=server)
    assert len(server.asked) == 2
    assert table["ok"].all()
    assert len(list(tmp_path.iterdir())) == 3
    offline = Server(OSError("no network"))
    again = fetch_sdss_cutouts(COORD, folder=tmp_path, download=offline)
    np.testing.assert_array_equal(again["image"], table["image"])
    # another size or scale is another image
    with pytest.raises(OSError, match="no network"):
        fetch_sdss_cutouts(COORD, 128, folder=tmp_path, download=offline, retries=0)


@pytest.mark.parametrize(("answer", "message"), [
    (b"<html>503 Service Unavailable</html>", "not a whole JPG, but begins with b'<html>503"),
    (jpg()[:800], "not a whole JPG"),
    (jpg(size=100), r"shape \(100, 100, 3\), not \(64, 64, 3\)"),
    (TimeoutError("timed out"), "timed out"),
    (b"", "not a whole JPG"),
])  # fmt: skip
def test_what_is_no_image_is_asked_for_again(answer, message, tmp_path, waits):
    server = Server(answer, jpg())
    assert fetch_sdss_cutouts(COORD[:1], folder=tmp_path, download=server)["ok"].all()
    assert len(server.asked) == 2
    with pytest.raises(OSError, match=message):
        fetch_sdss_cutouts(COORD[1:], folder=tmp_path, download=Server(answer))
    assert len(list(tmp_path.iterdir())) == 1  # nothing of what failed is kept


def test_damaged_files_are_fetched_again(tmp_path):
    fetch_sdss_cutouts(COORD, folder=tmp_path, download=Server(jpg()))
    first = min(tmp_path.iterdir())
    first.write_bytes(first.read_bytes()[:500])
    server = Server(jpg())
    assert fetch_sdss_cutouts(COORD, folder=tmp_path, download=server)["ok"].all()
    assert len(server.asked) == 1


def test_black_images_are_marked(tmp_path):
    table = fetch_sdss_cutouts(COORD, folder=tmp_path, download=Server(jpg(), jpg(0), jpg()))
    np.testing.assert_array_equal(table["ok"], [True, False, True])
    assert table["problem"][1] == "blank: outside the survey"
    assert (table["image"][1] == 0).all()
    kept = fetch_sdss_cutouts(COORD, folder=tmp_path, download=Server(OSError("no network")))
    np.testing.assert_array_equal(kept["ok"], table["ok"])


def frame(band):
    """A compressed frame of 300 x 200 pixels around the first position, of values that say the band and the pixel."""
    header = fits.Header({
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 1.0, "CRPIX1": 150.5, "CRPIX2": 100.5,
        "CD1_1": -0.396 / 3600, "CD2_2": 0.396 / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "BUNIT": "nanomaggy",
    })  # fmt: skip
    data = "ugriz".index(band) * 1e6 + np.arange(300 * 200).reshape(200, 300)
    buffer = io.BytesIO()
    fits.PrimaryHDU(data.astype(np.float32), header).writeto(buffer)
    return bz2.compress(buffer.getvalue())


def frames(url, timeout):
    """The server of frames."""
    return frame(url.rsplit("frame-")[1][0])


def located(coord):
    n = len(coord)
    return QTable({"coord": coord, "run": [756] * n, "rerun": [301] * n, "camcol": [2] * n, "field": [206] * n})


def test_partly_black_images_are_marked(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 60, (64, 64, 3))
    pixels[np.add.outer(np.arange(64), np.arange(64)) < 40] = 0
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG")
    table = fetch_sdss_cutouts(COORD[:1], folder=tmp_path, download=Server(buffer.getvalue()))
    assert table["problem"][0] == "partly black: at the edge of the survey"
    assert table["image"].max() > 30
    assert not table["ok"].any()


def test_what_is_not_on_the_server_is_marked(tmp_path):
    server = Server(jpg(), FileNotFoundError("404"), jpg())
    table = fetch_sdss_cutouts(COORD, folder=tmp_path, download=server)
    assert len(server.asked) == 3
    np.testing.assert_array_equal(table["ok"], [True, False, True])
    assert table["problem"][1] == "not on the server"
    with pytest.raises(OSError, match="the server has none of the 3 images; the first would be https://skyserver"):
        fetch_sdss_cutouts(COORD, folder=tmp_path / "other", download=Server(FileNotFoundError("404")))


def test_answers_of_requests(monkeypatch):
    requests = pytest.importorskip("requests")
    for status, error in ((404, FileNotFoundError), (503, requests.HTTPError)):
        answer = requests.Response()
        answer.status_code = status
        monkeypatch.setattr("requests.get", lambda url, timeout, answer=answer: answer)
        with pytest.raises(error):
            cutouts._requests("https://example.org", 1)


def test_frames(tmp_path):
    centre = SkyCoord([10.0], [1.0], unit="deg")
    asked = []

    def download(url, timeout):
        asked.append(url)
        return frames(url, timeout)

    table = fetch_sdss_cutouts(located(centre), 16, kind="fits", folder=tmp_path, download=download)
    assert table["image"].unit == u.nmgy
    assert table["image"].shape == (1, 5, 16, 16)
    folder = "https://data.sdss.org/sas/dr17/eboss/photoObj/frames/301/756/2"
    assert asked[2] == f"{folder}/frame-r-000756-2-0206.fits.bz2"
    # the reference pixel is between 149 and 150 from 0, of 16 pixels the eighth and ninth
    np.testing.assert_array_equal(table["image"][0, 1].value[:, 0] - 1e6, np.arange(92, 108) * 300 + 142)
    offline = Server(OSError("no network"))
    again = fetch_sdss_cutouts(located(centre), 16, kind="fits", folder=tmp_path, download=offline)
    np.testing.assert_array_equal(again["image"], table["image"])


def test_a_frame_is_fetched_once_for_all_galaxies_on_it(tmp_path):
    wcs = WCS(fits.open(io.BytesIO(bz2.decompress(frame("u"))))[0].header)
    three = located(wcs.pixel_to_world([49.7, 149.7, 249.7], [99.7, 59.7, 99.7]))
    three["field"] = [206, 206, 207]
    asked = []

    def download(url, timeout):
        asked.append(url)
        if len(asked) == 3:
            raise OSError("connection reset")
        return frames(url, timeout)

    def fetch():
        return fetch_sdss_cutouts(three, 16, kind="fits", bands="gr", folder=tmp_path, download=download, retries=0)

    with pytest.raises(OSError, match="connection reset"):
        fetch()
    table = fetch()
    assert len(asked) == 5  # two bands of two fields, one of them twice
    assert table["ok"].all()
    pixels = np.array([100, 60, 100]) * 300 + [50, 150, 250]
    np.testing.assert_array_equal(table["image"][:, 0, 8, 8].value, 1e6 + pixels)


def test_damaged_cutouts_are_cut_again(tmp_path):
    centre = located(SkyCoord([10.0], [1.0], unit="deg"))
    whole = fetch_sdss_cutouts(centre, 16, kind="fits", folder=tmp_path, download=frames)
    first, second, *_ = sorted(tmp_path.iterdir())
    first.write_bytes(first.read_bytes()[:3000])
    second.write_bytes(b"")
    asked = []

    def download(url, timeout):
        asked.append(url)
        return frames(url, timeout)

    again = fetch_sdss_cutouts(centre, 16, kind="fits", folder=tmp_path, download=download)
    assert len(asked) == 2
    np.testing.assert_array_equal(again["image"], whole["image"])


@pytest.mark.parametrize(("release", "folder"), [
    (12, "dr12/boss"), (16, "dr16/eboss"), (19, "dr19/prior-surveys/sdss4-dr17-eboss"),
])
def test_where_the_frames_of_a_release_are(tmp_path, release, folder):
    server = Server(OSError("no network"))
    with pytest.raises(OSError, match="no network"):
        fetch_sdss_cutouts(located(COORD[:1]), 16, kind="fits", folder=tmp_path, download=server, retries=0,
                           data_release=release)
    assert server.asked[0].startswith(f"https://data.sdss.org/sas/{folder}/photoObj/frames/301/756/2/frame-u-")


def test_edges_of_frames(tmp_path):
    wcs = WCS(fits.open(io.BytesIO(bz2.decompress(frame("u"))))[0].header)
    edge = wcs.pixel_to_world([2.0, 5000.0], [100.0, 100.0])
    table = fetch_sdss_cutouts(located(edge), 16, kind="fits", bands=("g", "r"), folder=tmp_path, download=frames)
    assert list(table["problem"]) == ["cut by the edge of the frame", "outside the frame"]
    assert not table["ok"].any()
    assert np.isnan(table["image"][0]).any()
    assert not np.isnan(table["image"][0]).all()
    assert np.isnan(table["image"][1]).all()


@pytest.mark.parametrize(("answer", "message"), [
    (frame("u")[:500], "not a whole FITS file"),
    (b"<html>503 Service Unavailable</html>", "not a whole FITS file"),
    (b"", "not a whole FITS file"),
    (TimeoutError("timed out"), "timed out"),
])
def test_what_is_no_frame_is_asked_for_again(tmp_path, answer, message):
    with pytest.raises(OSError, match=message):
        fetch_sdss_cutouts(located(COORD[:1]), 16, kind="fits", folder=tmp_path, download=Server(answer), retries=1)
    assert not list(tmp_path.iterdir())
    server = Server(answer, *(frame(band) for band in "gr"))
    table = fetch_sdss_cutouts(located(COORD[:1]), 16, kind="fits", bands="gr", folder=tmp_path, download=server)
    assert table["ok"].all()
    assert len(server.asked) == 3


def test_frames_that_are_not_on_the_server(tmp_path):
    two = located(SkyCoord([10.0, 10.0], [1.0, 1.0], unit="deg"))
    two["field"] = [206, 207]

    def download(url, timeout):
        if "0207" in url:
            raise FileNotFoundError(url)
        return frames(url, timeout)

    table = fetch_sdss_cutouts(two, 16, kind="fits", folder=tmp_path, download=download)
    assert list(table["problem"]) == ["", "not on the server"]
    assert np.isnan(table["image"][1]).all()


def test_bad_requests(tmp_path):
    def fetch(galaxies=COORD, *args, **kwargs):
        return fetch_sdss_cutouts(galaxies, *args, folder=tmp_path, download=Server(jpg()), **kwargs)

    with pytest.raises(ValueError, match="size=32: the JPG service makes images of 64 to 2048"):
        fetch(COORD, 32)
    with pytest.raises(ValueError, match="kind='png'"):
        fetch(kind="png")
    with pytest.raises(ValueError, match=r"pixels of 0\.396 arcsec"):
        fetch(kind="fits", scale="0.2 arcsec")
    with pytest.raises(ValueError, match="column 'run'"):
        fetch(kind="fits")
    with pytest.raises(ValueError, match="column 'coord'"):
        fetch(QTable({"ra": [1.0]}))
    with pytest.raises(ValueError, match="one or more positions"):
        fetch(COORD[0])
    with pytest.raises(u.UnitConversionError, match="scale"):
        fetch(scale=3 * u.m)


@pytest.mark.remote_data
def test_skyserver(tmp_path):
    table = fetch_sdss_cutouts(SkyCoord([184.9511], [-0.8754], unit="deg"), folder=tmp_path)
    assert table["ok"].all()


@pytest.mark.remote_data
def test_skyserver_outside_the_survey(tmp_path):
    with_black = SkyCoord([184.9511, 270.0], [-0.8754, -80.0], unit="deg")
    table = fetch_sdss_cutouts(with_black, folder=tmp_path)
    assert list(table["ok"]) == [True, False]


@pytest.mark.remote_data
def test_frames_of_the_archive(tmp_path):
    galaxy = fetch_sdss_galaxies(1)
    table = fetch_sdss_cutouts(galaxy, 32, kind="fits", bands="r", folder=tmp_path)
    assert table["ok"].all()
    # a galaxy of the Main Galaxy Sample is the brightest thing in its middle
    assert table["image"][0, 0, 12:20, 12:20].mean() > 3 * abs(np.median(table["image"]))
