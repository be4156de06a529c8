"""The weights that come with the package: on fields with known counts, and on real images."""

import astropy.units as u
import numpy as np
import pytest

from astrolearn import SourceCountRegressor
from astrolearn.counts import GaussianProcess, RadioSkySimulator


@pytest.fixture(scope="module")
def regressor():
    return SourceCountRegressor.from_pretrained("emu-944mhz")


def test_fields_with_counts_that_it_was_not_trained_on(regressor):
    simulator = RadioSkySimulator(counts=GaussianProcess(), n_pixels=1024)
    images = simulator.sample(4, 3)
    table = regressor.predict_counts(images)
    true = np.concatenate([image.meta["counts"](10**regressor._log_flux * u.Jy).value for image in images])
    error = np.log10(table["n"].value / true)
    sigma = np.log10(table["n_q84"] / table["n_q16"]).value / 2
    measured = ~table["prior_driven"]
    assert (np.abs(error) < 4 * sigma)[measured].all()
    bright = table["S_mid"] > 0.09 * u.mJy
    assert measured[bright & (table["S_mid"] < 9 * u.mJy)].all()
    # over 2 deg2 the mean error from 0.1 to 1 mJy is a tenth of a dex
    assert np.sqrt((error[bright & (table["S_mid"] < 1.1 * u.mJy)] ** 2).mean()) < 0.1
    assert table["prior_driven"][table["S_mid"] < 4e-6 * u.Jy].all()
    np.testing.assert_allclose(table["prior_width"], 0.4, atol=0.02)


def test_pooled_fields_are_more_certain(regressor):
    images = RadioSkySimulator(counts=GaussianProcess(), n_pixels=512).sample(2, 4)
    alone = regressor.predict_counts(images)
    together = regressor.predict_counts(images, groups=[0, 0])
    middle = slice(5, 9)
    assert (together["information"][middle] > alone["information"][:12][middle] - 1e-3).all()


def test_noise_of_20_ujy_is_within_the_range_and_40_is_not(regressor):
    quiet = RadioSkySimulator(n_pixels=256).sample(1, 5)[0]
    regressor.predict_counts([quiet], noise=22 * u.uJy / u.beam)
    with pytest.raises(ValueError, match="trained for"):
        regressor.predict_counts([quiet], noise=40 * u.uJy / u.beam)


def test_real_images_of_other_telescopes_are_refused(regressor, shared_data):
    for name in ("ScorpioS17Field.fits", "1904-66_SIN.fits"):
        with pytest.raises(ValueError, match="trained"):
            regressor.predict_counts([shared_data / "counts" / name])
