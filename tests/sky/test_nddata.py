"""Uncertainties of every kind, and the WCS of slices."""

import astropy.units as u
import numpy as np
import pytest
from astropy.nddata import (
    CCDData,
    InverseVariance,
    NDDataRef,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.wcs import WCS

from astrolearn.sky.nddata import fits_wcs, standard_deviations

SIGMA = np.random.default_rng(0).uniform(1, 2, (4, 5))


@pytest.mark.parametrize("uncertainty", [
    StdDevUncertainty(SIGMA), VarianceUncertainty(SIGMA**2), InverseVariance(SIGMA**-2),
    StdDevUncertainty(1e3 * SIGMA * u.mJy), VarianceUncertainty(1e6 * SIGMA**2 * u.mJy**2),
])  # fmt: skip
def test_kinds_and_units(uncertainty):
    image = CCDData(np.zeros((4, 5)), unit="Jy", uncertainty=uncertainty)
    np.testing.assert_allclose(standard_deviations(image), SIGMA)


def test_weights_of_zero_and_no_uncertainty():
    weights = np.ones((4, 5))
    weights[1, 2] = 0
    image = CCDData(np.zeros((4, 5)), unit="Jy", uncertainty=InverseVariance(weights))
    assert np.isinf(standard_deviations(image)[1, 2])
    assert standard_deviations(CCDData(np.zeros((4, 5)), unit="Jy")) is None


@pytest.mark.parametrize("uncertainty", [UnknownUncertainty(SIGMA), StdDevUncertainty(SIGMA * u.m)])
def test_others_are_refused(uncertainty):
    image = NDDataRef(np.zeros((4, 5)), unit="Jy")
    image._uncertainty = uncertainty  # astropy itself lets some of these through, depending on the class
    with pytest.raises(ValueError, match="the uncertainty of it is not a standard deviation"):
        standard_deviations(image, "it")


def test_wcs():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    assert fits_wcs(CCDData(np.zeros((4, 5)), unit="Jy", wcs=wcs)) is not None
    assert fits_wcs(CCDData(np.zeros((4, 5)), unit="Jy")) is None
    whole = NDDataRef(np.zeros((40, 50)), wcs=wcs)
    assert isinstance(fits_wcs(whole), WCS)
    with pytest.raises(ValueError, match="it has a WCS of the type SlicedLowLevelWCS"):
        fits_wcs(whole[3:30, 2:20], "it")
