"""scikit-learn's own promises, all of them."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from astrolearn import PhotoZRegressor


@parametrize_with_checks([PhotoZRegressor()])
def test_scikit_learn(estimator, check):
    check(estimator)
