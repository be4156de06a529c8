"""The weights that come with the package: on fresh simulated fields, on empty ones, and on real cutouts."""

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits

from astrolearn import MorphologySegmenter
from astrolearn.morphology import GalaxySceneSimulator
from astrolearn.sky import match


@pytest.fixture(scope="module")
def segmenter():
    return MorphologySegmenter.from_pretrained("hst-simulated")


def test_fresh_fields(segmenter):
    right, pairs, sources, detections, missing, magnitudes = 0, 0, 0, 0, [], []
    for scene in GalaxySceneSimulator(shape=(256, 256), density=400, magnitudes=(19, 25)).sample(6, 77):
        catalogue = segmenter.catalog(scene.images)
        x, y = scene.sources["x_centroid"], scene.sources["y_centroid"]
        inside = (x > 0) & (x < 255) & (y > 0) & (y < 255)
        truth = scene.sources[inside & (scene.sources["label"] > 0)]
        matches = match(catalogue, truth, 0.3 * u.arcsec)
        found, true = catalogue[matches.catalogue_index], truth[matches.reference_index]
        right, pairs = right + np.sum(found["class"] == true["class"]), pairs + len(true)
        sources, detections = sources + len(truth), detections + len(catalogue)
        magnitudes += list(true["mag_F160W"].value)
        missing += list(25.946 - 2.5 * np.log10(found["flux_F160W"].value) - true["mag_F160W"].value)
    assert right / pairs > 0.75
    assert pairs / sources > 0.75  # much denser than on the sky: blends
    assert pairs / detections > 0.75
    # light beyond the isophote is missing, of faint sources more
    missing, bright = np.array(missing), np.array(magnitudes) < 22.5
    assert 0 < np.median(missing[bright]) < 0.3
    assert np.median(missing[bright]) < np.median(missing[~bright]) < 0.5


def test_noise_has_no_galaxies(segmenter):
    for scene in GalaxySceneSimulator(shape=(512, 512), density=0).sample(2, 78):
        assert len(segmenter.catalog(scene.images)) <= 2
        plain = {band: image.data for band, image in scene.images.items()}
        assert len(segmenter.catalog(plain)) <= 2


def test_uncertainties_and_measured_noise_agree(segmenter):
    (scene,) = GalaxySceneSimulator(shape=(256, 256), density=200).sample(1, 79)
    plain = {band: image.data for band, image in scene.images.items()}
    with_errors, without = (segmenter.predict(images) for images in (scene.images, plain))
    assert (with_errors == without).mean() > 0.98


@pytest.mark.parametrize(("galaxy", "least"), [("GDS_wide2_1468", 0.9), ("GDS_deep2_10673", 0.7)])
def test_real_cutouts(segmenter, shared_data, galaxy, least):
    folder = shared_data / "morphology"
    images = {band: folder / f"{galaxy}_{letter}.fits" for band, letter in zip(segmenter.bands, "hjvz", strict=True)}
    _, segments, catalogue = segmenter.analyze(images)
    given, found = fits.getdata(folder / f"{galaxy}_segmap.fits") > 0, segments.data > 0
    assert (given & found).sum() / (given | found).sum() > least
    # the galaxy of the cutout is in its middle
    assert np.hypot(catalogue["x_centroid"] - 41.5, catalogue["y_centroid"] - 41.5).min() < 2
    assert catalogue["flux_F160W"].unit == u.electron / u.s
