"""``astrolearn find`` on an optical image, and the picture that it draws."""

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS
from regions import Regions

from astrolearn import PointSourceFinder, cli
from astrolearn.sources.optical import MoffatPSF, StarFieldSimulator
from astrolearn.sources.optical.plots import plot_stars


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An image as FITS and a finder trained for a moment."""
    folder = tmp_path_factory.mktemp("find")
    images = StarFieldSimulator((128, 160), psf=MoffatPSF(2.5), n_stars=60, significance=(15, 500)).sample(3, 1)
    finder = PointSourceFinder(kind="optical", width=8, max_epochs=15, batch_size=2, lr=8e-3, random_state=0)
    finder.fit(images[1:]).set_params(threshold=0.05).save(folder / "stars.safetensors")
    fits.PrimaryHDU(images[0].data.astype(">f4")).writeto(folder / "image.fits")
    header = fits.Header({"BUNIT": "electron/s", "SATURATE": 1e9})
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [150, 2]
    wcs.wcs.crpix, wcs.wcs.cdelt = [80, 64], [-1e-4, 1e-4]
    fits.PrimaryHDU(images[0].data, header=header + wcs.to_header()).writeto(folder / "placed.fits")
    return folder


def find(files, *options, image="image.fits"):
    weights = ["--weights", str(files / "stars.safetensors")]
    return cli.main(["find", str(files / image), *weights, "--overwrite", *options])


def test_catalogue_regions_and_picture(files, capsys):
    outputs = {suffix: files / f"stars{suffix}" for suffix in (".ecsv", ".fits", ".reg", ".png")}
    options = ["-o", str(outputs[".ecsv"]), "--regions", str(outputs[".reg"]), "--plot", str(outputs[".png"])]
    assert find(files, *options) == 0
    catalogue = QTable.read(outputs[".ecsv"])
    assert len(catalogue) > 10 and catalogue["flux"].unit == u.adu and catalogue.meta["fwhm"] > 2
    assert "sources found; the most significant" in capsys.readouterr().out
    circles = Regions.read(outputs[".reg"], format="ds9")
    assert len(circles) == len(catalogue)
    assert circles[0].center.x == pytest.approx(catalogue["x_centroid"][0])
    assert outputs[".png"].stat().st_size > 10_000
    assert find(files, "-o", str(outputs[".fits"]), "-q") == 0
    assert len(QTable.read(outputs[".fits"])) == len(catalogue)


def test_unit_and_coordinates_of_the_header_are_used(files):
    output = files / "placed.ecsv"
    assert find(files, "-o", str(output), "-q", "--psf", "2.6", "pix", "--mask", "icrs; circle(150, 2, 0.002)",
                image="placed.fits") == 0
    catalogue = QTable.read(output)
    assert catalogue["flux"].unit == u.electron / u.s and catalogue.meta["fwhm"] == 2.6
    assert catalogue["coord_error"].unit == u.arcsec
    separation = catalogue["coord"].separation(catalogue["coord"][0].__class__(150 * u.deg, 2 * u.deg))
    assert len(catalogue) > 3 and separation.min() > 0.0019 * u.deg


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nside", "64"], "--nside is for counts maps, but the weights are for optical images"),
        (["--energy-edges", "1", "3"], "--energy-edges is for counts maps"),
        (["--psf", "2.5", "deg"], "psf has the unit 'deg', which does not convert to 'pix'"),
    ],
)
def test_options_that_do_not_fit(files, capsys, options, message):
    assert find(files, "-o", str(files / "x.ecsv"), *options) == 2
    assert message in capsys.readouterr().err


def test_picture_tells_true_from_false():
    (image,) = StarFieldSimulator((64, 64), n_stars=12, significance=(30, 100)).sample(random_state=3)
    truth = image.meta["sources"]
    catalogue = QTable(truth["x_centroid", "y_centroid"][:8])
    catalogue.add_row([5.0, 5.0])
    image.data[:4] = np.nan
    figure = plot_stars(image, catalogue, sources=truth, title="toy")
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["8 found", "4 missed", "1 false"]
    assert figure.axes[0].get_title() == "toy"
    with pytest.raises(TypeError, match="must be an NDData"):
        plot_stars(image.data, catalogue)
