"""Families: they have the mean, the width and the correlations that they state."""

import astropy.units as u
import numpy as np
import pytest

from astrolearn.counts import (
    CountModel,
    GaussianProcess,
    IndependentBins,
    MixedFamily,
    ReferenceCounts,
    TalkFamily,
)

FAMILIES = [TalkFamily, IndependentBins, GaussianProcess, MixedFamily]
REFERENCE = ReferenceCounts(frequency="944 MHz")


@pytest.mark.parametrize("kind", FAMILIES)
def test_moments(kind):
    family = kind()
    np.testing.assert_array_equal(family.log_flux, np.linspace(-7.5, 0, 16))
    log_n = family.sample(20000, 0)
    assert log_n.shape == (20000, 16)
    assert log_n.dtype == np.float64
    spread = family.sigma.max()
    np.testing.assert_allclose(log_n.mean(axis=0), family.mean, atol=5 * spread / np.sqrt(20000))
    np.testing.assert_allclose(log_n.std(axis=0), family.sigma, rtol=0.03)
    # every default family lies around the reference
    np.testing.assert_allclose(family.mean, REFERENCE.log_density(family.log_flux), atol=1e-12)


@pytest.mark.parametrize("kind", FAMILIES)
def test_seeds(kind):
    family = kind()
    np.testing.assert_array_equal(family.sample(5, 1), family.sample(5, 1))
    assert np.abs(family.sample(5, 1) - family.sample(5, 2)).max() > 0.01
    assert family.sample(0, 1).shape == (0, 16)
    assert "16 nodes" in repr(family)


def test_the_family_of_the_talk():
    flat = CountModel([1e-8, 1], [1, 1])
    family = TalkFamily(flat, s0=(1e-5, 1e-5) * u.Jy, alpha=(0.5, 0.5), log_flux=[-7, -5, -3])
    np.testing.assert_allclose(family.sample(2, 0), np.tile(0.5 * np.log10([101, 2, 1.01]), (2, 1)))
    np.testing.assert_allclose(family.mean, 0.5 * np.log10([101, 2, 1.01]))
    np.testing.assert_allclose(family.sigma, 0, atol=1e-7)
    # an asymmetric range: mean and width are not those of the default
    family = TalkFamily(flat, alpha=(-0.1, 0.4))
    log_n = family.sample(20000, 0)
    np.testing.assert_allclose(log_n.mean(axis=0), family.mean, atol=0.02)
    np.testing.assert_allclose(log_n.std(axis=0), family.sigma, rtol=0.03)
    # one shape: the nodes are all but perfectly correlated, which is what misleads a network
    assert np.corrcoef(TalkFamily().sample(5000, 0).T)[1, 3] > 0.98


def test_correlations():
    free = np.corrcoef(IndependentBins().sample(20000, 0).T)
    assert np.abs(free - np.eye(16)).max() < 0.04
    smooth = np.corrcoef(GaussianProcess(length=(1, 1)).sample(20000, 0).T)
    for step in (1, 2, 4):
        expected = np.exp(-((0.5 * step) ** 2) / 2)
        np.testing.assert_allclose(np.diag(smooth, step), expected, atol=0.03)


def test_widths_per_node():
    sigma = np.linspace(0, 1, 16)
    for kind in (IndependentBins, GaussianProcess):
        np.testing.assert_allclose(kind(sigma=sigma).sample(20000, 0).std(axis=0), sigma, rtol=0.03, atol=1e-9)


def test_mixture_of_given_families():
    low, high = (IndependentBins(CountModel([1e-8, 1], [n, n]), sigma=0.1) for n in (1, 100))
    family = MixedFamily(families=[low, high])
    log_n = family.sample(20000, 0)
    assert (log_n[:, 0] > 1).mean() == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose(family.mean, 1)
    np.testing.assert_allclose(family.sigma, np.hypot(1, 0.1))
    np.testing.assert_allclose(log_n.std(axis=0), family.sigma, rtol=0.02)


def test_bad_families_are_refused():
    with pytest.raises(ValueError, match="not a CountModel"):
        IndependentBins("s3sex-massardi")
    with pytest.raises(ValueError, match="sigma"):
        IndependentBins(sigma=[0.1, 0.2])
    with pytest.raises(ValueError, match="sigma"):
        GaussianProcess(sigma=-1)
    with pytest.raises(ValueError, match="length"):
        GaussianProcess(length=(0, 1))
    with pytest.raises(ValueError, match="s0"):
        TalkFamily(s0=(1e-5, 1e-6))
    with pytest.raises(u.UnitConversionError, match="s0"):
        TalkFamily(s0=(1, 2) * u.K)
    with pytest.raises(ValueError, match="must increase"):
        IndependentBins(log_flux=[-5, -6])
    with pytest.raises(ValueError, match="same log_flux"):
        MixedFamily(families=[IndependentBins(), IndependentBins(log_flux=[-5, -4])])
    with pytest.raises(ValueError, match="empty"):
        MixedFamily(families=[])
    with pytest.raises(ValueError, match="either those or families"):
        MixedFamily(REFERENCE, families=[IndependentBins()])
