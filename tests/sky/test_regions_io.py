import astropy.units as u
import numpy as np
import pytest
import regions
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from regions import CirclePixelRegion, CircleSkyRegion, PixCoord, PolygonSkyRegion, RectangleSkyRegion, Regions

from astrolearn.sky import SkyMap, to_regions
from astrolearn.sky.regions_io import image_inside, load_regions, sky_inside

SKYMAP = SkyMap(np.zeros(12 * 64**2, dtype="f4"))
PIXEL_AREA = 41252.96 / SKYMAP.n_pix  # deg2


@pytest.fixture
def catalogue():
    return QTable({
        "coord": SkyCoord([10, 266.4, 3], [20, -29, 89.9], unit="deg"), "coord_error": [0.05, 0.1, 2] * u.deg,
        "name": ["Mkn 421", "Sgr A*", "b"],
    })


@pytest.mark.parametrize("form", ["ds9", "crtf"])
def test_region_files_round_trip(catalogue, form, tmp_path):
    written = to_regions(catalogue)
    written.write(tmp_path / "sources.reg", format=form)
    for read in (Regions.read(tmp_path / "sources.reg", format=form), load_regions(tmp_path / "sources.reg")):
        assert len(read) == 3
        for region, row in zip(read, catalogue, strict=True):
            assert region.center.separation(row["coord"]) < 0.1 * u.arcsec
            assert region.radius.to_value(u.deg) == pytest.approx(3 * row["coord_error"].value, rel=1e-4)
            assert region.meta["text" if form == "ds9" else "label"].strip("'") == row["name"]


def test_radii(catalogue):
    assert [r.radius for r in to_regions(catalogue, 0.5)] == [0.5 * u.deg] * 3
    assert [r.radius for r in to_regions(catalogue, "30 arcmin")] == [0.5 * u.deg] * 3
    assert [r.radius.value for r in to_regions(catalogue, [1, 2, 3] * u.deg)] == [1, 2, 3]
    bare = Table({"coord": catalogue["coord"], "coord_error": [1.0, 2, 3]})
    assert [r.radius.value for r in to_regions(bare)] == [3, 6, 9]
    assert len(to_regions(catalogue["coord"], 1)) == 3
    assert len(to_regions(catalogue["coord"][0], 1)) == 1


def test_pixel_catalogues():
    circle, = to_regions(Table({"x_centroid": [3.5], "y_centroid": [4]}), 2)
    assert isinstance(circle, CirclePixelRegion)
    assert (circle.center.x, circle.center.y, circle.radius) == (3.5, 4, 2)


def test_empty_catalogue(catalogue, tmp_path):
    for empty in (to_regions(catalogue[:0]), to_regions(catalogue[:0], 1 * u.deg)):
        assert len(empty) == 0
        empty.write(tmp_path / "empty.reg", format="ds9", overwrite=True)


def test_bad_catalogues(catalogue):
    with pytest.raises(ValueError, match="neither coord nor x_centroid"):
        to_regions(catalogue["name",])
    with pytest.raises(ValueError, match="no coord_error; give a radius"):
        to_regions(catalogue["coord"])
    with pytest.raises(ValueError, match="2 of 3 radii are not positive"):
        to_regions(catalogue, [1, 0, -1] * u.deg)
    catalogue["coord_error"][1] = np.nan
    with pytest.raises(ValueError, match="radius.*finite"):
        to_regions(catalogue)
    with pytest.raises(u.UnitConversionError, match="radius"):
        to_regions(catalogue, 3 * u.s)


def fraction(text):
    return sky_inside(load_regions(text), SKYMAP).mean() * SKYMAP.n_pix * PIXEL_AREA


@pytest.mark.parametrize(("text", "area"), [
    ("galactic; circle(30, 60, 9)", 2 * np.pi * (1 - np.cos(np.deg2rad(9))) * (180 / np.pi) ** 2),
    ("icrs; circle(0, 90, 120)", 0.75 * 41252.96),
    ("fk5; annulus(30, 60, 2, 9)", np.pi * (81 - 4)),
    ("icrs; box(30, 60, 16, 14, 30)", 16 * 14),
    ("icrs; ellipse(30, 89, 10, 8, 30)", np.pi * 80),
    # a right-angled spherical triangle: the tangent of half its area is the product of those of half its legs
    ("galactic; polygon(0, 0, 40, 0, 0, 40)", 2 * np.arctan(np.tan(np.deg2rad(20)) ** 2) * (180 / np.pi) ** 2),
    ("galactic; box(0, 0, 360, 20)", 41252.96 * np.sin(np.deg2rad(10))),
    ("galactic; circle(30, 60, 10)\n-circle(30, 60, 7)", np.pi * (100 - 49)),
    ("galactic\n-circle(30, 60, 10)", 41252.96 - np.pi * 100),
    ("#CRTFv0\ncircle[[30deg, 60deg], 9deg], coord=galactic", np.pi * 81),
    ("galactic; point(30,60)\nline(1,2,3,4)\n# text(3,4) text={x}", 0),
])
def test_areas(text, area):
    assert fraction(text) == pytest.approx(area, rel=0.03)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 360), st.floats(-90, 90), st.floats(0.1, 179), st.sampled_from(["galactic", "icrs"]), st.booleans())
def test_circles_hold_the_pixels_within_the_radius(lon, lat, radius, frame, nest):
    skymap = SkyMap(np.zeros(12 * 16**2), frame=frame, nest=nest)
    centre = SkyCoord(lon, lat, unit="deg")
    inside = sky_inside([CircleSkyRegion(centre, radius * u.deg)], skymap)
    np.testing.assert_array_equal(inside, skymap.pixel_coords().separation(centre) < radius * u.deg)


def test_shapes_agree_with_an_image():
    """A shape on the sphere holds what it holds on a flat image centred on it."""
    centre = SkyCoord(83.6, 60, unit="deg")
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [83.6, 60]
    wcs.wcs.crpix = [150.5, 150.5]
    wcs.wcs.cdelt = [-0.02, 0.02]
    skymap = SkyMap(np.zeros(12 * 512**2, dtype="f4"), frame="icrs")
    shapes = [RectangleSkyRegion(centre, 3 * u.deg, 1 * u.deg, 25 * u.deg),
              PolygonSkyRegion(SkyCoord([82, 86, 85], [59, 59.5, 61], unit="deg"))]
    for shape in shapes:
        flat = image_inside([shape], (300, 300), wcs)
        y, x = np.indices(flat.shape)
        there = sky_inside([shape], skymap)[skymap.coord_to_pixel(wcs.pixel_to_world(x, y))]
        assert np.mean(flat != there) < 0.03  # only along the border, which is blurred by the pixels of 0.11 deg
        assert flat.sum() > 4000


def test_compound_and_spherical_regions():
    a = CircleSkyRegion(SkyCoord(0, 0, unit="deg"), 8 * u.deg)
    b = CircleSkyRegion(SkyCoord(5, 0, unit="deg"), 8 * u.deg)
    in_a, in_b = sky_inside([a], SKYMAP), sky_inside([b], SKYMAP)
    np.testing.assert_array_equal(sky_inside([a | b], SKYMAP), in_a | in_b)
    np.testing.assert_array_equal(sky_inside([a & b], SKYMAP), in_a & in_b)
    np.testing.assert_array_equal(sky_inside([a ^ b], SKYMAP), in_a ^ in_b)
    if hasattr(regions, "RangeSphericalSkyRegion"):
        band = regions.RangeSphericalSkyRegion("galactic", latitude_range=[-5, 5] * u.deg)
        np.testing.assert_array_equal(sky_inside([band], SKYMAP), np.abs(SKYMAP.pixel_coords().b.deg) <= 5)


def test_images_without_and_with_coordinates():
    circle = CirclePixelRegion(PixCoord(5, 3), 2)
    y, x = np.indices((10, 20))
    expected = (x - 5) ** 2 + (y - 3) ** 2 < 4
    np.testing.assert_array_equal(image_inside([circle], (10, 20), None), expected)
    beyond = CirclePixelRegion(PixCoord(-50, 3), 2)
    np.testing.assert_array_equal(image_inside([circle, beyond], (10, 20), None), expected)
    circle.meta["include"] = False
    np.testing.assert_array_equal(image_inside([circle], (10, 20), None), ~expected)
    with pytest.raises(ValueError, match="CircleSkyRegion is on the sky, but the image has no WCS"):
        image_inside([CircleSkyRegion(SkyCoord(0, 0, unit="deg"), 1 * u.deg)], (10, 20), None)
    with pytest.raises(ValueError, match="CirclePixelRegion is in pixel coordinates"):
        sky_inside([circle], SKYMAP)


def test_lines_and_points_on_images():
    things = load_regions("image; point(3,4)\nline(1,2,3,4)\n# text(3,4) text={x}")
    assert not image_inside(things, (10, 20), None).any()


def test_what_holds_no_regions(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.reg: no such file"):
        load_regions(tmp_path / "none.reg")
    (tmp_path / "empty.reg").write_text("# nothing\n")
    with pytest.raises(ValueError, match=r"empty\.reg: there are no regions"):
        load_regions(tmp_path / "empty.reg")
    (tmp_path / "wrong.crtf").write_text("#CRTFv0\ncircle[[1deg, 2deg]]\n")
    with pytest.raises(ValueError, match=r"wrong\.crtf: cannot read regions \([^\n]*\)$"):
        load_regions(tmp_path / "wrong.crtf")
    for wrong in (5, [1, 2], SkyCoord(0, 0, unit="deg")):
        with pytest.raises(TypeError, match="regions, or a file"):
            load_regions(wrong)
