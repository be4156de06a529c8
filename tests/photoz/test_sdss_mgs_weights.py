"""The weights that come with the package: on galaxies whose answer is known by eye, and on the real ones."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import vstack

from astrolearn import PhotoZRegressor
from astrolearn.core.tables import SampleTable
from astrolearn.photoz import metrics
from astrolearn.recipes.sdss_mgs_ugriz import read_galaxies


def galaxy(**magnitudes):
    table = SampleTable({band: [value] * u.mag for band, value in magnitudes.items()})
    for band, error in zip("ugriz", (0.05, 0.007, 0.006, 0.006, 0.013), strict=True):
        table[f"{band}_err"] = [error] * u.mag
    return table


@pytest.fixture(scope="module")
def regressor():
    return PhotoZRegressor.from_pretrained("sdss-mgs-ugriz")


def test_old_galaxies_are_redder_the_farther_they_are(regressor):
    # the break at 4000 Å moves through g, and u - g and g - r of old galaxies rise
    near = galaxy(u=17.6, g=15.8, r=15.05, i=14.68, z=14.4)
    far = galaxy(u=19.8, g=18.0, r=17.0, i=16.58, z=16.25)
    table = regressor.predict_pdf(SampleTable(vstack([near, far])))
    assert 0.01 < table["z_median"][0].value < 0.06
    assert 0.1 < table["z_median"][1].value < 0.17
    assert not table["out_of_distribution"].any()
    assert (table["odds"] > 0.9).all()


def test_stars_and_faint_galaxies_are_marked(regressor):
    blue_star = galaxy(u=15.0, g=15.3, r=15.8, i=16.1, z=16.4)
    faint = galaxy(u=25.0, g=23.5, r=22.0, i=21.0, z=20.5)
    table = regressor.predict_pdf(SampleTable(vstack([blue_star, faint])))
    assert table["out_of_distribution"].all()
    assert ((table["z_median"].value > 0) & (table["z_median"].value < 0.31)).all()


def test_real_galaxies(regressor, shared_data):
    table, z = read_galaxies(shared_data / "photoz" / "sdss_mgs_validation.txt")
    result = regressor.predict_pdf(table)
    assert metrics.sigma_mad(z, result["z_median"]) < 0.0135
    assert metrics.outlier_fraction(z, result["z_median"]) < 0.015
    assert metrics.coverage(z, *regressor.predict_interval(table, 0.9)) == pytest.approx(0.9, abs=0.04)
    assert result["out_of_distribution"].mean() < 0.02
    gappy = table.copy()
    gappy["u"] = np.full(len(table), np.nan) * u.mag
    assert metrics.sigma_mad(z, regressor.predict(gappy)) < 0.02
