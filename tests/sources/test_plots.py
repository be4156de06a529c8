import sys

import astropy.units as u
import healpy as hp
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData
from astropy.table import QTable
from astropy.wcs import WCS

from astrolearn.sky import SkyMap
from astrolearn.sources.plots import plot_sky, save_figure

FLUX = 1 / u.cm**2 / u.s


@pytest.fixture
def skymap():
    data = np.random.default_rng(1).poisson(3, (2, hp.nside2npix(32))).astype(np.float32)
    return SkyMap(data, energy_edges=[0.3, 1, 10] * u.GeV)


@pytest.fixture
def truth():
    coord = SkyCoord([0, 20, 200, 359.9], [0, 5, -60, 40], unit="deg", frame="galactic")
    return QTable({"coord": coord, "flux": [8e-9, 4e-9, 2e-10, 5e-11] * FLUX, "significance": [90, 40, 5, 3.0]})


@pytest.fixture
def found():
    """The first two sources, in equatorial coordinates, and two that are not there."""
    coord = SkyCoord([0.1, 20, 100, 101], [0, 5.1, 70, 70], unit="deg", frame="galactic").icrs
    return QTable({"coord": coord, "significance": [88, 45, 4.0, 0.0]})


@pytest.fixture
def image():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt, wcs.wcs.crpix = ["GLON-CAR", "GLAT-CAR"], [-0.5, 0.5], [30.5, 20.5]
    data = np.random.default_rng(2).poisson(2.0, (2, 40, 60)).astype(float)
    return CCDData(data, unit="ct", wcs=wcs, meta={"energy_edges": [0.3, 1, 10] * u.GeV})


def labels(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def marks(axes):
    return [len(collection.get_offsets()) for collection in axes.collections]


def test_whole_sky(skymap, found, truth):
    figure = plot_sky(skymap, found, truth, min_flux=1e-10, title="sky")
    sky, plane, bar = figure.axes
    assert labels(figure) == ["2 found", r"1 missed above $1.0 \times 10^{-10}$ cm$^{-2}$ s$^{-1}$", "2 false"]
    assert marks(sky) == [2, 1, 2]
    assert marks(plane) == [2, 0, 0]  # the inner Galactic plane
    assert bar.get_xlabel() == "photons above 1 GeV per square degree"
    assert figure.get_suptitle() == "sky"
    assert plane.coords[0].get_axislabel() == "Galactic longitude"
    # the mean of the second bin, whatever the smoothing
    shown = np.asarray(sky.images[0].get_array())
    density = skymap.data[1].mean() / hp.nside2pixarea(32, degrees=True)
    assert np.nanmean(shown) == pytest.approx(density, rel=0.02)
    assert np.isnan(shown[0, 0])


def test_marks_lie_on_their_pixels(skymap):
    """A source is drawn where the map has its photons, for any order and frame of the map."""
    for frame in ("galactic", "icrs"):
        for nest in (False, True):
            coord = SkyCoord(75, 30, unit="deg", frame="galactic")
            one = SkyMap(np.zeros((1, skymap.n_pix)), frame=frame, nest=nest)
            one.data[0, one.coord_to_pixel(coord)] = 1000
            axes = plot_sky(one, SkyCoord([coord])).axes[0]
            shown = np.nan_to_num(np.asarray(axes.images[0].get_array()))
            brightest = np.unravel_index(shown.argmax(), shown.shape)[::-1]
            (mark,) = axes.collections[0].get_offsets()
            assert np.hypot(*(mark - brightest)) < 12  # image pixels of 0.16 deg; those of the map have 1.8 deg


def test_without_truth(skymap, found):
    figure = plot_sky(skymap, found["coord"], smoothing="1 deg")
    assert labels(figure) == ["4 sources"]
    figure = plot_sky(skymap, found[:0])
    assert labels(figure) == ["0 sources"]
    assert marks(figure.axes[0]) == [0]


@pytest.fixture
def classified(found):
    found["class"], found["fake"] = ["psr", "agn", "fake", "agn"], [False, False, True, False]
    return found


def test_classes(skymap, classified, truth):
    figure = plot_sky(skymap, classified)
    sky, plane, _ = figure.axes
    assert labels(figure) == ["1 fake", "2 AGN", "1 PSR"]
    assert marks(sky) == [1, 2, 1]
    assert marks(plane) == [0, 1, 1]
    fake, agn, pulsar = sky.collections
    corners = [len(kind.get_paths()[0].vertices) for kind in (agn, pulsar)]
    assert corners[0] > corners[1]  # a circle and a diamond
    assert len({tuple(kind.get_edgecolor()[0]) for kind in (fake, agn, pulsar)}) == 3
    assert np.ptp(fake.get_facecolor()[0, :3]) == 0  # a grey dot, smaller than all others
    assert all(len(kind.get_facecolor()) == 0 for kind in (agn, pulsar))
    extent = {kind: np.sqrt(kind.get_sizes().min()) * np.ptp(kind.get_paths()[0].vertices[:, 0])
              for kind in sky.collections}
    assert extent[fake] < min(extent[agn], extent[pulsar])
    legend = figure.axes[0].get_legend()
    figure.draw_without_rendering()
    assert legend.get_window_extent().y0 > sky.get_window_extent().y1  # above the map, not on it
    assert labels(plot_sky(skymap, classified, truth))[0] == "2 found"


def test_nothing_to_classify(skymap, classified):
    assert labels(plot_sky(skymap, classified[:0])) == ["0 sources"]


def test_classes_without_fakes(skymap, classified):
    """As of a classifier that was trained without fakes."""
    classified["class"][2] = "psr"
    classified.remove_column("fake")
    assert labels(plot_sky(skymap, classified)) == ["2 AGN", "2 PSR"]


def test_classes_of_ones_own(skymap, classified):
    classified["class"] = ["nova", "agn", "globular cluster", "nova"]
    figure = plot_sky(skymap, classified)
    assert labels(figure) == ["1 AGN", "1 globular cluster", "2 nova"]
    shapes = {kind.get_paths()[0].vertices.shape for kind in figure.axes[0].collections}
    assert len(shapes) >= 2
    many = QTable({"coord": SkyCoord(np.arange(12), np.zeros(12), unit="deg"), "fake": np.zeros(12, bool),
                   "class": [f"kind {number:02}" for number in range(12)]})
    assert labels(plot_sky(skymap, many)) == [f"1 kind {number:02}" for number in range(12)]


def test_part_of_the_sky(skymap, found, truth):
    skymap.mask = skymap.pixel_coords().separation(truth["coord"][1]) > 14 * u.deg
    figure = plot_sky(skymap, found, truth)
    sky, _ = figure.axes
    assert marks(sky) == [1, 0, 0]  # the Galactic centre is 20.6 deg away
    assert labels(plot_sky(skymap, found[:0], truth))[1] == "1 missed"  # elsewhere there was nothing to be found
    shown = np.asarray(sky.images[0].get_array())
    assert np.isfinite(shown).mean() == pytest.approx(np.pi / 4, abs=0.05)
    skymap.mask = np.ones(skymap.n_pix, bool)
    with pytest.raises(ValueError, match="nothing of the map was observed"):
        plot_sky(skymap, found)


def test_half_the_sky_is_a_whole_picture(skymap, found):
    skymap.mask = skymap.pixel_coords().b < 0
    sky = plot_sky(skymap, found).axes[0]
    shown = np.asarray(sky.images[0].get_array())
    assert np.isnan(shown[200]).all()
    density = skymap.data[1].mean() / hp.nside2pixarea(32, degrees=True)
    assert np.nanmean(shown) == pytest.approx(density, rel=0.05)  # no darker towards the edge


def test_image(image, found):
    image.mask = np.zeros(image.shape, bool)
    image.mask[1, :5] = True
    figure = plot_sky(image, found)
    sky, bar = figure.axes
    assert marks(sky) == [1]
    assert bar.get_xlabel() == "photons above 1 GeV per square degree"
    shown = np.asarray(sky.images[0].get_array())
    assert np.isnan(shown[:5]).all()
    assert np.nanmean(shown) == pytest.approx(image.data[1, 5:].mean() / 0.25, rel=0.05)
    plain = CCDData(image.data[0], unit="ct", wcs=image.wcs)
    assert plot_sky(plain, found, smoothing=0.5).axes[1].get_xlabel() == "photons per square degree"
    with pytest.raises(ValueError, match="no celestial WCS"):
        plot_sky(CCDData(image.data, unit="ct"), found)


def test_missed_in_an_image(image):
    truth = SkyCoord([0, 10, 14, 16], [0, 5, -9, 0], unit="deg", frame="galactic")
    assert labels(plot_sky(image, truth[:0], truth))[1] == "3 missed"
    image.mask = np.zeros(image.shape, bool)
    image.mask[:, :5] = True  # b < -7.5 deg
    assert labels(plot_sky(image, truth[:0], truth))[1] == "2 missed"


def test_equatorial_image(image, found):
    image.wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    sky = plot_sky(image, found).axes[0]
    assert sky.coords[0].get_axislabel() == "Right ascension"


def test_counts_below_1_gev_only(skymap, found):
    assert plot_sky(skymap[0], found).axes[2].get_xlabel() == "photons above 0.3 GeV per square degree"


def test_an_empty_map(skymap, found):
    plot_sky(SkyMap(np.zeros((1, skymap.n_pix))), found)


def test_limit_needs_fluxes(skymap, found, truth):
    with pytest.raises(ValueError, match="no column 'flux'"):
        plot_sky(skymap, found, truth["coord"], min_flux=1e-10)
    with pytest.raises(u.UnitConversionError, match="min_flux"):
        plot_sky(skymap, found, truth, min_flux="1 GeV")


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg", ".jpg"])
def test_files(image, found, tmp_path, suffix):
    path = tmp_path / f"sky{suffix}"
    save_figure(plot_sky(image, found), path, dpi=50)
    start = path.read_bytes()[:10]
    assert start.startswith({".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml", ".jpg": b"\xff\xd8"}[suffix])


def test_given_figure(image, found):
    from matplotlib.figure import Figure

    figure = Figure()
    assert plot_sky(image, found, figure=figure) is figure
    assert len(figure.axes) == 2


def test_without_matplotlib(skymap, found, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "astrolearn\[plot\]"'):
        plot_sky(skymap, found)
