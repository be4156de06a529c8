import pickle

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData, NDData, StdDevUncertainty
from astropy.wcs import WCS
from regions import CircleSkyRegion
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import make_pipeline

from astrolearn.sky import EnergyRebinner, RadialPSF, RegionMask, SkyMap

CIRCLE = CircleSkyRegion(SkyCoord(0, 0, unit="deg", frame="galactic"), 20 * u.deg)


@pytest.fixture
def skymap():
    counts = np.random.default_rng(0).poisson(5, (3, 768)).astype(np.float32)
    return SkyMap(counts, energy_edges=[1, 3, 10, 30] * u.GeV, exposure=[1e11, 2e11, 3e11], background=2.0,
                  psf=[1, 0.5, 0.3] * u.deg)


@pytest.fixture
def cube():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["GLON-CAR", "GLAT-CAR"]
    wcs.wcs.crpix = [20.5, 10.5]
    wcs.wcs.cdelt = [-2, 2]
    data = np.random.default_rng(0).poisson(5, (3, 20, 40)).astype(np.float32)
    return CCDData(data, unit="ct", wcs=wcs, meta={
        "energy_edges": [1, 3, 10, 30] * u.GeV, "background": np.full((3, 20, 40), 2.0),
        "exposure": [1e11, 2e11, 3e11] * u.cm**2 * u.s, "psf": [1, 0.5, 0.3] * u.deg})


def snapshot(obj):
    mask = None if obj.mask is None else obj.mask.copy()
    return obj.data.copy(), mask, dict(obj.meta)


def test_region_mask_on_a_sphere(skymap):
    data, *_ = snapshot(skymap)
    masked = RegionMask(CIRCLE).fit_transform(skymap)
    expected = skymap.pixel_coords().separation(CIRCLE.center) < CIRCLE.radius
    np.testing.assert_array_equal(masked.mask, expected)
    np.testing.assert_array_equal(RegionMask(CIRCLE, invert=True).transform(skymap).mask, ~expected)
    assert np.shares_memory(masked.data, skymap.data)
    assert masked.psf == skymap.psf
    assert skymap.mask is None
    np.testing.assert_array_equal(skymap.data, data)


def test_masks_add_up(skymap):
    skymap.mask = np.arange(3 * 768).reshape(3, 768) < 10
    masked = RegionMask(CIRCLE).fit_transform(skymap)
    np.testing.assert_array_equal(masked.mask, skymap.mask | RegionMask(CIRCLE).fit_transform(skymap[2:]).mask)
    assert skymap.mask.sum() == 10


def test_region_mask_on_images(cube):
    expected = cube.wcs.pixel_to_world(*np.indices((20, 40))[::-1]).separation(CIRCLE.center) < 19 * u.deg
    masked = RegionMask(CIRCLE).fit_transform(cube)
    assert isinstance(masked, CCDData)
    assert masked.mask.shape == cube.shape
    assert masked.mask[:, expected].all()
    assert cube.mask is None
    image = NDData(cube.data[0], wcs=cube.wcs, mask=np.arange(800).reshape(20, 40) < 3)
    both = RegionMask(CIRCLE).fit_transform(image)
    np.testing.assert_array_equal(both.mask, masked.mask[0] | image.mask)
    with pytest.raises(ValueError, match="no WCS"):
        RegionMask(CIRCLE).transform(NDData(cube.data[0]))


def test_energy_rebinner_on_a_sphere(skymap):
    data, *_ = snapshot(skymap)
    merged = EnergyRebinner("1, 10, 30 GeV").fit_transform(skymap)
    np.testing.assert_array_equal(merged.data, [data[0] + data[1], data[2]])
    np.testing.assert_array_equal(skymap.data, data)


def test_images_and_spheres_are_rebinned_alike(skymap, cube):
    data, _, meta = snapshot(cube)
    cube.mask = np.zeros(cube.shape, dtype=bool)
    cube.mask[0, 1, 2] = True
    cube.uncertainty = StdDevUncertainty(np.full(cube.shape, 3.0))
    rebinner = EnergyRebinner([1, 10, 30] * u.GeV)
    on_sphere, on_image = rebinner.transform([skymap, cube])
    assert isinstance(on_image, CCDData)
    np.testing.assert_array_equal(on_image.data, [data[0] + data[1], data[2]])
    assert np.argwhere(on_image.mask).tolist() == [[0, 1, 2]]
    np.testing.assert_allclose(on_image.uncertainty.array, np.array([18.0, 9.0])[:, None, None] * np.ones((20, 40)))
    np.testing.assert_array_equal(on_image.meta["energy_edges"], [1, 10, 30] * u.GeV)
    np.testing.assert_array_equal(on_image.meta["background"], np.array([4.0, 2.0])[:, None, None] * np.ones((20, 40)))
    np.testing.assert_allclose(on_image.meta["exposure"][:, 0, 0], on_sphere.exposure[:, 0], rtol=1e-6)
    assert isinstance(on_image.meta["psf"], RadialPSF)
    np.testing.assert_allclose(on_image.meta["psf"].profile, on_sphere.psf.profile, rtol=1e-6)
    np.testing.assert_array_equal(cube.data, data)
    assert cube.meta == meta


def test_flat_image_with_one_bin(cube):
    image = CCDData(cube.data[0], unit="ct", meta={"energy_edges": [1, 3] * u.GeV, "background": np.ones((20, 40))})
    merged = EnergyRebinner([1, 3]).transform(image)
    assert merged.shape == (1, 20, 40)
    assert merged.meta["background"].shape == (1, 20, 40)


def test_what_cannot_be_rebinned(skymap, cube):
    with pytest.raises(ValueError, match=r"\[2\.\] GeV are not among"):
        EnergyRebinner([2, 30]).transform(skymap)
    with pytest.raises(u.UnitConversionError, match="edges"):
        EnergyRebinner([2, 30] * u.s).fit([skymap])
    del cube.meta["energy_edges"]
    with pytest.raises(ValueError, match="no meta"):
        EnergyRebinner([1, 30]).transform(cube)
    cube.meta["energy_edges"] = [1, 30] * u.GeV
    with pytest.raises(ValueError, match="3 energy planes"):
        EnergyRebinner([1, 30]).transform(cube)


@pytest.mark.parametrize("transformer", [
    RegionMask("galactic; circle(0, 0, 20)"), RegionMask(regions=[CIRCLE], invert=True), EnergyRebinner("1, 30 GeV"),
    EnergyRebinner(edges=[1, 30] * u.GeV),
])
def test_scikit_learn_conventions(transformer, skymap, cube):
    copy = clone(transformer)
    assert copy.get_params().keys() == transformer.get_params().keys()
    assert pickle.loads(pickle.dumps(transformer)).fit(None) is not None
    assert not transformer.__sklearn_tags__().input_tags.two_d_array
    one = transformer.transform(skymap)
    several = copy.fit_transform([skymap, cube])
    assert isinstance(one, SkyMap)
    assert isinstance(several, list)
    assert type(several[1]) is CCDData
    np.testing.assert_array_equal(several[0].data, one.data)
    assert isinstance(transformer.transform((skymap,)), list)
    assert transformer.transform([]) == []
    with pytest.raises(TypeError, match="a SkyMap"):
        transformer.transform(np.zeros((3, 768)))


def test_files_may_appear_later(tmp_path, skymap):
    """Parameters are only stored; files are read when they are needed."""
    mask = RegionMask(str(tmp_path / "regions.reg"))
    with pytest.raises(FileNotFoundError, match=r"regions\.reg"):
        mask.fit([skymap])
    (tmp_path / "regions.reg").write_text("galactic\ncircle(0, 0, 20)\n")
    np.testing.assert_array_equal(mask.fit_transform(skymap).mask, RegionMask(CIRCLE).transform(skymap).mask)


class Total(BaseEstimator):
    """Sums what was observed; a stand-in for an estimator at the end of a pipeline."""

    def fit(self, X, y=None):
        self.total_ = sum((one.data * one.observed).sum() for one in X)
        return self

    def predict(self, X):
        return (X.data * X.observed).sum(axis=1)


def test_pipeline(skymap):
    pipeline = make_pipeline(RegionMask(CIRCLE), EnergyRebinner("1, 10, 30 GeV"), Total())
    predicted = pipeline.fit([skymap, skymap]).predict(skymap)
    outside = skymap.pixel_coords().separation(CIRCLE.center) >= CIRCLE.radius
    expected = skymap.data[:, outside].sum(axis=1)
    np.testing.assert_allclose(predicted, [expected[0] + expected[1], expected[2]])
    assert pipeline[-1].total_ == pytest.approx(2 * expected.sum())
    assert pipeline.set_params(energyrebinner__edges="3, 30 GeV").predict(skymap) == pytest.approx(expected[1:].sum())
