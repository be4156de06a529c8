"""Metrics against their definitions on numbers worked out by hand, and against scipy's distributions."""

import astropy.units as u
import numpy as np
import pytest
from astropy.cosmology import units as cu
from scipy.stats import norm
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_score

from astrolearn.core.tables import SampleTable
from astrolearn.photoz import metrics

TRUE = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
PREDICTED = np.array([0.01, 1.04, 0.9, 0.2, 1.02])  # dz = 0.01, 0.02, -0.05, 0.2, 0.01


def test_point_metrics():
    assert metrics.normalised_error(TRUE, PREDICTED) == pytest.approx([0.01, 0.02, -0.05, 0.2, 0.01])
    assert metrics.bias(TRUE, PREDICTED) == pytest.approx(0.038)
    assert metrics.bias(TRUE, PREDICTED, "median") == pytest.approx(0.01)
    assert metrics.sigma_mad(TRUE, PREDICTED) == pytest.approx(1.4826 * 0.01)
    assert metrics.sigma_iqr(TRUE, PREDICTED) == pytest.approx(0.01 / 1.349)
    assert metrics.outlier_fraction(TRUE, PREDICTED, 0.045) == pytest.approx(0.4)
    assert metrics.outlier_fraction(TRUE, PREDICTED, 0.15) == pytest.approx(0.2)
    assert metrics.outlier_fraction(TRUE, PREDICTED, "rail") == pytest.approx(0.2)
    assert metrics.coverage(TRUE, TRUE - 0.1, TRUE + np.array([0.1, 0.1, -0.05, 0.1, 0.0])) == pytest.approx(0.8)


def test_widths_of_normal_errors():
    rng = np.random.default_rng(0)
    z = rng.uniform(0, 1, 40000)
    predicted = z + 0.02 * (1 + z) * rng.normal(size=len(z))
    assert metrics.sigma_mad(z, predicted) == pytest.approx(0.02, rel=0.03)
    assert metrics.sigma_iqr(z, predicted) == pytest.approx(0.02, rel=0.03)


def test_units_and_shapes():
    assert metrics.bias(TRUE * cu.redshift, PREDICTED) == metrics.bias(TRUE, PREDICTED * cu.redshift)
    with pytest.raises(ValueError, match=r"\(5,\), z_predicted \(4,\)"):
        metrics.bias(TRUE, PREDICTED[:4])
    with pytest.raises(ValueError, match="'mode' is not"):
        metrics.bias(TRUE, PREDICTED, "mode")
    with pytest.raises(ValueError, match="'lsst' is neither"):
        metrics.outlier_fraction(TRUE, PREDICTED, "lsst")


def normal_densities(sigma=0.03, n=400):
    rng = np.random.default_rng(1)
    centre = rng.uniform(0.4, 0.6, n)
    grid = np.linspace(0, 1, 801)
    return centre, norm(centre[:, None], sigma).pdf(grid), grid


def test_densities_that_are_right():
    centre, pdf, grid = normal_densities()
    z = centre + 0.03 * np.random.default_rng(2).normal(size=len(centre))
    np.testing.assert_allclose(metrics.pit(z, pdf, grid), norm(centre, 0.03).cdf(z), atol=1e-3)
    # of a normal distribution (Gneiting & Raftery 2007, equation 21)
    x = (z - centre) / 0.03
    exact = 0.03 * (x * (2 * norm.cdf(x) - 1) + 2 * norm.pdf(x) - 1 / np.sqrt(np.pi))
    np.testing.assert_allclose(metrics.crps(z, pdf, grid), exact, atol=2e-4)
    table = SampleTable({"pdf": pdf}, meta={"z_grid": grid * cu.redshift})
    np.testing.assert_array_equal(metrics.crps(z, table), metrics.crps(z, pdf, grid))


def test_the_score_of_a_point_is_its_error():
    centre, pdf, grid = normal_densities(sigma=0.0005)
    np.testing.assert_allclose(metrics.crps(centre + 0.1, pdf, grid), 0.1, atol=1e-3)


def test_outside_the_grid():
    pdf, grid = np.ones((2, 11)), np.linspace(0, 1, 11)
    np.testing.assert_allclose(metrics.pit(np.array([-0.1, 1.2]), pdf, grid), [0, 1])
    # a third of the unit interval, and the way outside
    np.testing.assert_allclose(metrics.crps(np.array([-0.1, 1.2]), pdf, grid), [1 / 3 + 0.1, 1 / 3 + 0.2], atol=5e-3)


def test_bad_densities():
    grid = np.linspace(0, 1, 11)
    with pytest.raises(ValueError, match="need their z_grid"):
        metrics.pit(TRUE, np.ones((5, 11)))
    with pytest.raises(ValueError, match=r"\(4, 11\); expected \(5, 11\)"):
        metrics.pit(TRUE, np.ones((4, 11)), grid)
    with pytest.raises(ValueError, match="5 densities are zero"):
        metrics.pit(TRUE, np.zeros((5, 11)), grid)
    with pytest.raises(u.UnitConversionError, match="z_true"):
        metrics.pit(TRUE * u.m, np.ones((5, 11)), grid)


def test_scorer():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 2))
    scores = cross_val_score(LinearRegression(), X, X[:, 0], scoring=metrics.sigma_mad_scorer)
    assert (scores <= 0).all()
    assert scores == pytest.approx(0, abs=1e-9)
