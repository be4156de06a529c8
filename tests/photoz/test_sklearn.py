"""scikit-learn's own promises, all of them."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from astrolearn import PhotoZRegressor


# They hold for any parameters; of so short a training the score still is 0.8, where 0.5 is asked.
@parametrize_with_checks([PhotoZRegressor(max_epochs=5, n_networks=2, lr=0.01)])
def test_scikit_learn(estimator, check):
    check(estimator)
