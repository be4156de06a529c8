"""The shared checks pass on an estimator that keeps its promises, and each fails on one that breaks it."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.nddata import NDData
from estimator_checks import (
    CHECKS,
    Case,
    InputCheck,
    check_bad_fit_inputs,
    check_bad_inputs,
    check_equal_inputs,
    generate_checks,
    parametrize,
)
from example_estimator import SlopeRegressor, make_light_curves

X, y = make_light_curves()
mask = np.zeros(X.shape, dtype=bool)
mask[0, 0, 0] = True

case = Case(
    name="SlopeRegressor",
    make=SlopeRegressor,
    fit_args=(X, y),
    predict_args=(X,),
    methods=("predict", "summarise"),
    bad_inputs={
        "wrong_unit": ((X.value * u.m,), "X has the unit 'm', which does not convert to 'Jy'"),
        "wrong_shape": ((X[:, :1],), r"X has the shape \(32, 1, 16\); expected \(n, 2, 16\)"),
        "nan": ((X * np.nan,), "X has 1024 missing values"),
        "empty": ((X[:0],), "X is empty"),
        "masked": ((NDData(X, mask=mask),), "X has 1 missing values"),
    },
    bad_fit_inputs={
        "targets": ((X, y[1:]), r"y has the shape \(31,\); expected \(32\)"),
        "units": ((X, y.value * u.Jy), "y has the unit 'Jy', which does not convert to 'Jy / s'"),
    },
    equal_inputs={
        "big_endian": (X.astype(">f8"),),
        "bare": (X.value,),
        "other_unit": (X.to(u.Jy) * 1,),
        "unmasked": (NDData(X, mask=mask & False),),
    },
)


@parametrize(case)
def test_promises_are_kept(check, case):
    check(case)


class InitConverts(SlopeRegressor):
    def __init__(self, *, n_channels=4, random_state=None):
        super().__init__(n_channels=n_channels, random_state=random_state)
        self.n_kernels = n_channels


class IgnoresParameters(SlopeRegressor):
    def set_params(self, **params):
        return self


class KeepsStateInClone(SlopeRegressor):
    def __sklearn_clone__(self):
        return self


class ReturnsNothing(SlopeRegressor):
    def fit(self, X, y):
        super().fit(X, y)


class WarmStarts(SlopeRegressor):
    def fit(self, X, y):
        old = getattr(self, "net_", None)
        super().fit(X, y)
        if old is not None:
            self.net_.module_.layers[0].weight.data += old.module_.layers[0].weight.data
        return self


class UsesGlobalNumbers(SlopeRegressor):
    def fit(self, X, y):
        super().fit(X, y)
        self.offset_ = self.offset_ + np.random.normal() * u.Jy / u.s
        return self


class IgnoresSeed(SlopeRegressor):
    def fit(self, X, y):
        seed, self.random_state = self.random_state, 0
        super().fit(X, y)
        self.random_state = seed
        return self


class WritesIntoInputs(SlopeRegressor):
    def predict(self, X):
        result = super().predict(X)
        X[0, 0, 0] += 1 * u.Jy
        return result


class ForgetsUnderscore(SlopeRegressor):
    def fit(self, X, y):
        self.n_samples = X.shape[2]
        return super().fit(X, y)


class ChangesParameters(SlopeRegressor):
    def fit(self, X, y):
        self.scale = 1 * u.Jy
        return super().fit(X, y)


class AnswersUnfitted(SlopeRegressor):
    def predict(self, X):
        return super().predict(X) if hasattr(self, "net_") else np.zeros(len(X))


class TakesAnyParameter(SlopeRegressor):
    def fit(self, X, y):
        epochs, self.max_epochs = self.max_epochs, 1
        super().fit(X, y)
        self.max_epochs = epochs
        return self


class DoesNotPickle(SlopeRegressor):
    def fit(self, X, y):
        super().fit(X, y)
        self.function_ = lambda x: x
        return self

    def __deepcopy__(self, memo):
        return self


class SavesTooLittle(SlopeRegressor):
    _fitted_names = ("n_samples_",)

    def predict(self, X):
        if not hasattr(self, "offset_"):
            self.offset_ = 0 * u.Jy / u.s
        return super().predict(X)


class BatchesMatter(SlopeRegressor):
    def _forward(self, inputs):
        from joblib import effective_n_jobs

        return super()._forward(inputs) + effective_n_jobs(self.n_jobs)


class Prints(SlopeRegressor):
    def predict(self, X):
        print("predicting")
        return super().predict(X)


class TakesAnything(SlopeRegressor):
    def fit(self, X, y):
        return super().fit(X, y) if y.unit == u.Jy / u.s and len(X) == len(y) else self

    def predict(self, X):
        return np.zeros(len(X))


class SeesByteOrder(SlopeRegressor):
    def predict(self, X):
        return super().predict(X) * (1 if X.dtype.isnative else 2)


BROKEN = {
    "init_stores_only": [InitConverts],
    "set_params": [IgnoresParameters],
    "clone": [KeepsStateInClone],
    "fit_returns_self": [ReturnsNothing],
    "refit_equals_fit": [WarmStarts],
    "random_state": [UsesGlobalNumbers, IgnoresSeed],
    "inputs_are_not_changed": [WritesIntoInputs],
    "fitted_attributes": [ForgetsUnderscore, ChangesParameters],
    "not_fitted": [AnswersUnfitted],
    "bad_parameter_is_named": [TakesAnyParameter],
    "pickle": [DoesNotPickle],
    "save_load": [SavesTooLittle],
    "parallel_answers_are_the_same": [BatchesMatter],
    "progress": [Prints],
}
INPUT_CHECKS = [
    (InputCheck(check_bad_inputs, "wrong_unit"), TakesAnything),
    (InputCheck(check_bad_fit_inputs, "units"), TakesAnything),
    (InputCheck(check_equal_inputs, "big_endian"), SeesByteOrder),
]


@pytest.mark.parametrize(
    ("check", "broken"),
    [(check, broken) for check in CHECKS for broken in BROKEN[check.__name__.removeprefix("check_")]] + INPUT_CHECKS,
)
def test_broken_promise_is_found(check, broken):
    # A failed check raises AssertionError, pytest's Failed (nothing was raised), or the estimator's own error.
    broken_case = replace(case, make=broken, fit_args=(X.copy(), y), predict_args=(X.copy(),))
    with pytest.raises((AssertionError, pytest.fail.Exception, AttributeError, TypeError)):
        check(broken_case)


def test_case_must_have_every_kind_of_input():
    incomplete = replace(case, bad_inputs={})
    with pytest.raises(ValueError, match="has no input for: empty, masked, nan, wrong_shape, wrong_unit"):
        list(generate_checks(incomplete))


def test_exclusions_skip_with_their_reason():
    bad_inputs = {kind: bad for kind, bad in case.bad_inputs.items() if kind != "nan"}
    exclusions = {"pickle": "holds a file handle", "bad_inputs[nan]": "integers have no NaN"}
    parameters = parametrize(replace(case, bad_inputs=bad_inputs, exclusions=exclusions)).args[1]
    skipped = {parameter.id: parameter.marks[0].kwargs["reason"] for parameter in parameters if parameter.marks}
    assert skipped == {
        "SlopeRegressor-pickle": "holds a file handle",
        "SlopeRegressor-bad_inputs[nan]": "integers have no NaN",
    }


def test_unknown_exclusion_is_refused():
    with pytest.raises(ValueError, match="excludes unknown checks: smell"):
        parametrize(replace(case, exclusions={"smell": "has none"}))


def test_checks_leave_torch_threads_alone():
    assert torch.get_num_threads() == 1
