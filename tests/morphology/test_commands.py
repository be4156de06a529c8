"""The command ``astrolearn segment``, from files to files."""

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.table import QTable
from astropy.wcs import WCS
from morphology.blobs import BANDS, CLASSES, blobs
from regions import Regions

from astrolearn import MorphologySegmenter
from astrolearn.cli import main


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    images, labels = zip(*(blobs(i) for i in range(9)), strict=True)
    segmenter = MorphologySegmenter(bands=BANDS, classes=CLASSES, width=8, batch_size=8, max_epochs=30, lr=5e-3,
                                    random_state=0).fit(list(images), labels)  # fmt: skip
    path = tmp_path_factory.mktemp("weights") / "blobs.safetensors"
    segmenter.save(path)
    return path


@pytest.fixture
def files(tmp_path):
    images, _ = blobs(100)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], (53, -28)
    wcs.wcs.crpix, wcs.wcs.cdelt = (48, 48), (-0.06 / 3600, 0.06 / 3600)
    paths = []
    for band, image in images.items():
        header = wcs.to_header()
        header.update({"BUNIT": "electron/s", "FILTER": band})
        paths.append(tmp_path / f"{band}.fits")
        fits.PrimaryHDU(image.astype(">f4"), header).writeto(paths[-1])
    return paths


def run(*arguments):
    return main(["segment", *map(str, arguments)])


@pytest.mark.parametrize("suffix", ["ecsv", "fits"])
def test_images_to_files(tmp_path, files, weights, capsys, suffix):
    names = (f"catalogue.{suffix}", "seg.fits", "p.fits", "classes.png", "sources.reg")
    out = [tmp_path / name for name in names]
    options = ["-o", out[0], "--segmap", out[1], "--probabilities", out[2], "--plot", out[3], "--regions", out[4]]
    assert run(*files, *options, "--weights", weights) == 0
    text, errors = capsys.readouterr()
    assert errors == ""
    segmenter = MorphologySegmenter.load(weights)
    probability, segments, catalogue = segmenter.analyze(files)
    written = QTable.read(out[0])
    assert set(written.colnames) >= set(catalogue.colnames) - {"coord"}
    np.testing.assert_allclose(written["p_long"], catalogue["p_long"])
    np.testing.assert_allclose(u.Quantity(written["flux_H"]).value, catalogue["flux_H"].value)
    if suffix == "ecsv":
        assert written["flux_H"].unit == u.electron / u.s
    else:
        assert u.Unit(written.meta["FLUXUNIT"]) == u.electron / u.s
    assert written["coord"].separation(catalogue["coord"]).max() < 1e-6 * u.arcsec
    with fits.open(out[1]) as hdus:
        np.testing.assert_array_equal(hdus[0].data, segments.data)
        assert WCS(hdus[0].header).pixel_to_world(3, 4).separation(catalogue["coord"][0]) < 10 * u.arcsec
    with fits.open(out[2]) as hdus:
        assert [hdu.name for hdu in hdus[1:]] == ["ROUND", "LONG", "BACKGROUND"]
        np.testing.assert_array_equal(hdus["LONG"].data, probability[1])
    assert out[3].read_bytes().startswith(b"\x89PNG")
    assert len(Regions.read(out[4], format="ds9")) == len(catalogue)
    assert f"{len(catalogue)} sources" in text
    assert text.count("of which") == 2
    assert all(str(path) in text for path in out)


def test_named_images_in_any_order(tmp_path, files, weights):
    out = [tmp_path / "a.ecsv", tmp_path / "b.ecsv"]
    assert run(*files, "-o", out[0], "--weights", weights, "-q") == 0
    assert run(f"V={files[1]}", f"H={files[0]}", "-o", out[1], "--weights", weights, "-q") == 0
    a, b = (QTable.read(path) for path in out)
    np.testing.assert_array_equal(a["flux_V"], b["flux_V"])


def test_errors_and_mask(tmp_path, files, weights):
    images, _ = blobs(100)
    mask = np.zeros((96, 96), np.uint8)
    mask[:, :40] = 1
    fits.PrimaryHDU(mask).writeto(tmp_path / "mask.fits")
    rms = [tmp_path / "a.fits", tmp_path / "b.fits"]
    for path in rms:
        fits.PrimaryHDU(np.full((96, 96), 2.0)).writeto(path)
    options = ["--rms", *rms, "--mask", tmp_path / "mask.fits", "--segmap", tmp_path / "seg.fits"]
    assert run(*files, "-o", tmp_path / "a.ecsv", "--weights", weights, "-q", *options) == 0
    assert not fits.getdata(tmp_path / "seg.fits")[:, :40].any()
    sigma = StdDevUncertainty(np.full((96, 96), 2.0))
    options = {"unit": "electron/s", "mask": mask != 0, "uncertainty": sigma}
    given = {band: CCDData(image, **options) for band, image in images.items()}
    expected, found = MorphologySegmenter.load(weights).catalog(given), QTable.read(tmp_path / "a.ecsv")
    np.testing.assert_allclose(found["flux_error_H"].value, expected["flux_error_H"].value)
    np.testing.assert_allclose(found["p_long"], expected["p_long"])


def test_threshold(tmp_path, files, weights):
    assert run(*files, "-o", tmp_path / "a.ecsv", "--weights", weights, "-q", "--threshold", "0.1") == 0
    assert QTable.read(tmp_path / "a.ecsv").meta["threshold"] == 0.1


@pytest.mark.parametrize(("change", "message"), [
    (lambda f: [f[1], f[0]], "states to be V, but H is expected"),
    (lambda f: [f[0]], "has 1 image for the band(s) H, V"),
    (lambda f: [f"H={f[0]}", f[1]], "either all images are named, as band=file, or none"),
    (lambda f: [f"H={f[0]}", f"H={f[1]}"], "a band is named twice: H, H"),
    (lambda f: [f"H={f[0]}", f"K={f[1]}"], "lacks the band(s) V"),
    (lambda f: [f[0], f[1].with_name("none.fits")], "none.fits: no such file"),
    (lambda f: [*f, "--rms", f[0]], "--rms needs one file for each image"),
    (lambda f: [*f, "--stride", "4"], "--stride is for the windows of Morpheus"),
    (lambda f: [*f, "--segmap", f[0].with_name("s.png")], "s.png: the name of this file must end in .fits"),
    (lambda f: [*f, "--threshold", "2"], "threshold"),
])  # fmt: skip
def test_errors_leave_nothing_behind(tmp_path, files, weights, capsys, change, message):
    assert run(*change(files), "-o", tmp_path / "a.ecsv", "--weights", weights) == 2
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["H.fits", "V.fits"]


def test_published_weights_on_real_images(tmp_path, shared_data, capsys):
    folder = shared_data / "morphology"
    images = [folder / f"GDS_wide2_1468_{band}.fits" for band in "hjvz"]
    weights = folder / "morpheus_weights.npz"
    options = ["-o", tmp_path / "c.ecsv", "--segmap", tmp_path / "s.fits", "--stride", "15", "--weights", weights]
    assert run(*images, *options) == 0
    assert "of the image" in capsys.readouterr().out  # the outer five pixels are not covered
    given = fits.getdata(folder / "GDS_wide2_1468_segmap.fits") > 0
    found = fits.getdata(tmp_path / "s.fits") > 0
    inner = np.zeros(given.shape, bool)
    inner[5:-5, 5:-5] = True
    overlap = (given & found & inner).sum() / ((given | found) & inner).sum()
    assert overlap > 0.85
    assert run(*[images[i] for i in (0, 1, 3, 2)], *options, "--overwrite") == 2
    assert "states to be F850LP, but F606W is expected" in capsys.readouterr().err
