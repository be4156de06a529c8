"""Features of tables: complete, of order one, and right about what is missing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from astrolearn.photoz.features import TableFeatures


def correlated(n=2000, seed=0):
    """Magnitudes of five bands that share a brightness, and two colours."""
    rng = np.random.default_rng(seed)
    brightness, colour = 18 + rng.normal(size=(n, 1)), rng.normal(size=(n, 1))
    return brightness + 0.2 * colour * np.arange(5) + 0.02 * rng.normal(size=(n, 5))


def test_columns_and_their_principal_components():
    values = correlated()
    none = np.zeros(values.shape, bool)
    features = TableFeatures.fit(values, none)
    out = features.transform(values, none)
    assert out.dtype == np.float32
    assert out.shape == (2000, features.n_features) == (2000, 20)
    np.testing.assert_allclose(out[:, :5].std(axis=0), 1, rtol=0.15)
    np.testing.assert_allclose(np.cov(out[:, 5:10].T), np.eye(5), atol=0.02)
    assert (out[:, 10:] == 0).all()


def test_missing_values_are_predicted_from_the_others():
    values = correlated()
    none = np.zeros(values.shape, bool)
    features = TableFeatures.fit(values, none)
    complete = features.transform(values, none)
    gappy = values.copy()
    gappy[::2, 3] = np.nan
    out = features.transform(gappy, none)
    np.testing.assert_array_equal(out[1::2], complete[1::2])
    assert (out[::2, 13] == 1).all()
    # conditional mean between two neighbours with 0.02 each: sqrt(1 + 1/2) * 0.02 of a spread of 1.2, to a factor of 2
    error = (out[::2, 3] - complete[::2, 3]).std()
    assert 0.01 < error < 0.04
    alone = np.full((1, 5), np.nan)
    guess = features.transform(alone, np.zeros((1, 5), bool))[0, :5]
    np.testing.assert_allclose(guess, complete[:, :5].mean(0), atol=0.01)


def test_undetected_is_faint():
    values = correlated()
    none = np.zeros(values.shape, bool)
    features = TableFeatures.fit(values, none)
    row, flag = values[:1].copy(), none[:1].copy()
    row[0, 0], flag[0, 0] = np.nan, True
    out = features.transform(row, flag)
    assert out[0, 0] == features.transform(values, none)[:, 0].max()
    assert out[0, 15] == 1
    assert out[0, 10] == 0


def test_columns_that_say_nothing():
    values = np.column_stack([correlated(50), np.full(50, 3.0), np.full(50, np.nan), np.r_[np.zeros(49), 1.0]])
    none = np.zeros(values.shape, bool)
    out = TableFeatures.fit(values, none).transform(values, none)
    assert np.isfinite(out).all()
    assert (out[:, 5] == 0).all()


@settings(max_examples=40, deadline=None)
@given(arrays(float, (12, 3), elements=st.floats(-1e30, 1e30) | st.just(np.nan)))
def test_any_numbers_give_finite_features(values):
    none = np.zeros(values.shape, bool)
    out = TableFeatures.fit(values, none).transform(values, none)
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= 8


def test_rows_do_not_depend_on_each_other():
    values = correlated(60)
    values[::3, 1] = np.nan
    none = np.zeros(values.shape, bool)
    features = TableFeatures.fit(values, none)
    whole = features.transform(values, none)
    for rows in (slice(5, 6), slice(10, 30)):
        assert features.transform(values[rows], none[rows]) == pytest.approx(whole[rows], abs=1e-6)
