"""Images of objects cut out of larger ones."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS, Sip
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from astrolearn import PhotoZRegressor
from astrolearn.sky import CutoutExtractor


def image(scale=0.4, offset=0.0, unit=u.nmgy):
    """An image of 120 x 100 pixels whose values say the pixel."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150.0, 2.0], [60.5, 50.5]
    wcs.wcs.cdelt = [-scale / 3600, scale / 3600]
    return CCDData(offset + np.arange(12000.0).reshape(100, 120), wcs=wcs, unit=unit)


def test_cutouts_are_centred():
    one = image()
    x, y = np.array([30, 70]), np.array([40, 20])
    cutouts = CutoutExtractor(one, size=5).fit_transform(one.wcs.pixel_to_world(x, y))
    assert cutouts.unit == u.nmgy
    assert cutouts.dtype == np.float32
    assert cutouts.shape == (2, 1, 5, 5)
    np.testing.assert_array_equal(cutouts[:, 0, 2, 2].value, one.data[y, x])
    np.testing.assert_array_equal(cutouts[0, 0].value, one.data[38:43, 28:33])


def test_bands_masks_and_edges():
    blue, red = image(), image(offset=1e5)
    blue.mask = np.zeros(blue.shape, bool)
    blue.mask[50, 60] = True
    coord = blue.wcs.pixel_to_world([60, 0], [50, 50])
    cutouts = CutoutExtractor({"g": blue, "r": red}, size="2 arcsec").transform(coord).value
    assert cutouts.shape == (2, 2, 5, 5)
    np.testing.assert_array_equal(cutouts[:, 1] - cutouts[:, 0], np.where(np.isnan(cutouts[:, 0]), np.nan, 1e5))
    assert np.isnan(cutouts[0]).sum() == 1
    assert np.isnan(cutouts[1]).sum() == 20
    assert np.isnan(cutouts[0, 0, 2, 2])


def test_distortions_that_are_leftovers():
    one, announced = image(), image()
    coord = one.wcs.pixel_to_world([110], [50])
    for each in (one, announced):
        a = np.zeros((3, 3))
        a[2, 0] = 2e-3  # 2e-3 (110 - 59.5)^2: 5 pixels
        each.wcs.sip = Sip(a, np.zeros((3, 3)), None, None, each.wcs.wcs.crpix)
    announced.wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    with pytest.warns(AstropyUserWarning, match=r"no -SIP; they are ignored.* up to 7\.[01] pixels"):
        cutout = CutoutExtractor(one, size=3).transform(coord)
    assert cutout[0, 0, 1, 1].value == one.data[50, 110]
    moved = CutoutExtractor(announced, size=3).transform(coord)
    assert moved[0, 0, 1, 1].value == one.data[50, 106]


def test_in_a_pipeline():
    one = image()
    rng = np.random.default_rng(0)
    coord = one.wcs.pixel_to_world(rng.uniform(20, 100, 24), rng.uniform(20, 80, 24))
    steps = make_pipeline(CutoutExtractor([one, one], size=16), PhotoZRegressor(max_epochs=1, random_state=0))
    z = rng.uniform(0, 0.3, 24)
    predicted = clone(steps).fit(coord, z).predict(coord)
    assert predicted.shape == (24,)
    assert np.isfinite(cross_val_score(steps, coord, z, cv=2)).all()
    search = GridSearchCV(steps, {"cutoutextractor__size": [16, 20]}, cv=2).fit(coord, z)
    assert search.best_estimator_.predict(coord[:3]).shape == (3,)


def test_what_is_refused():
    coord = SkyCoord([150.0], [2.0], unit="deg")
    far = SkyCoord([150.0, 151.0], [2.0, 2.0], unit="deg")
    with pytest.raises(ValueError, match=r"X\[1\] at 151 2 is outside band 0"):
        CutoutExtractor(image()).transform(far)
    with pytest.raises(ValueError, match="one or more positions"):
        CutoutExtractor(image()).transform(coord[0])
    with pytest.raises(ValueError, match="no celestial WCS"):
        CutoutExtractor(CCDData(np.zeros((9, 9)), unit="ct")).fit()
    with pytest.raises(ValueError, match="band 1 of the image must be a two-dimensional"):
        CutoutExtractor([image(), np.zeros((9, 9))]).fit()
    with pytest.raises(ValueError, match=r"differ in the size of their pixels: 0\.400, 0\.500 arcsec"):
        CutoutExtractor([image(), image(0.5)]).fit()
    for nowhere in (SkyCoord([60.0], [2.0], unit="deg"), SkyCoord([330.0], [-2.0], unit="deg"),
                    SkyCoord([np.nan], [2.0], unit="deg")):
        with pytest.raises(ValueError, match=r"X\[0\] at .* is outside band 0"):
            CutoutExtractor(image()).transform(nowhere)
    turned = image()
    turned.wcs.wcs.cdelt = -turned.wcs.wcs.cdelt
    with pytest.raises(ValueError, match="differ in the direction"):
        CutoutExtractor([image(), turned]).fit()
    with pytest.raises(ValueError, match=r"size=5\.5 is not a whole number"):
        CutoutExtractor(image(), size=5.5).fit()
    assert CutoutExtractor(image(), size=5.0).transform(coord).shape == (1, 1, 5, 5)
    with pytest.raises(ValueError, match="less than a pixel"):
        CutoutExtractor(image(), size="0.1 arcsec").fit()
    with pytest.raises(u.UnitConversionError, match="size"):
        CutoutExtractor(image(), size="3 s").fit()
    with pytest.raises(u.UnitConversionError, match="band 1"):
        CutoutExtractor([image(), image(unit=u.K)]).transform(coord)
