"""
The promises of every estimator, as checks that run on any input: images, series, maps.

scikit-learn's own `parametrize_with_checks` feeds 2-D tables, so on other inputs it checks one promise only. Here an
estimator joins with one `Case`: how to make it, inputs that it takes, inputs that it refuses, and inputs that must give
the same answer. `parametrize` turns cases into test parameters::

    @parametrize(case)
    def test_finder(check, case):
        check(case)
"""

import contextlib
import copy
import inspect
import io
import pickle
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import astropy.units as u
import joblib
import numpy as np
import pytest
import torch
from astropy.coordinates import SkyCoord
from astropy.table import Table
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

# What every estimator must be tried on, as a bad input or as one that gives the same answer.
REQUIRED_INPUTS = {"wrong_unit", "wrong_shape", "nan", "empty", "big_endian", "masked"}


def assert_same(a, b):
    """Assert that two answers (or inputs) are equal to the last bit; of objects, every attribute that ``b`` has."""
    assert type(a) is type(b)
    if isinstance(a, Table):
        assert a.colnames == b.colnames
        assert len(a) == len(b)
        for name in a.colnames:
            assert_same(a[name], b[name])
    elif isinstance(a, SkyCoord):
        assert_same(a.frame.cartesian.xyz, b.frame.cartesian.xyz)
    elif isinstance(a, np.ndarray) and a.dtype.kind != "O":
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        if isinstance(a, u.Quantity):
            assert a.unit == b.unit
        np.testing.assert_array_equal(np.ma.getmaskarray(a), np.ma.getmaskarray(b))
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        for key in b:
            assert_same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif hasattr(b, "__dict__") and not isinstance(b, (type, u.UnitBase)):
        assert_same(vars(a), vars(b))
    else:
        np.testing.assert_equal(a, b)


@dataclass
class Case:
    """
    One estimator and the inputs to try it on.

    Parameters
    ----------
    name : str
        Shown in the test's name.
    make : callable
        Makes an estimator whose fit takes a second or less; accepts hyper-parameters as keywords.
    fit_args, predict_args : tuple
        Valid arguments of ``fit`` and of the ``methods``.
    bad_inputs : dict of str to tuple
        For each input to be refused: arguments of the ``methods``, and a pattern of the message. The message about a
        wrong unit names what has it and both units.
    equal_inputs : dict of str to tuple
        Arguments of the ``methods`` that must give the answer of ``predict_args``.
    bad_fit_inputs : dict of str to tuple
        As ``bad_inputs``, for ``fit``.
    methods : tuple of str, optional
        The methods that answer. Default: ``predict``.
    same : callable, optional
        Asserts that two answers are equal. Default: to the last bit.
    exclusions : dict of str to str
        Checks that do not apply (``"pickle"`` or ``"bad_inputs[nan]"``), each with the reason.
    """

    name: str
    make: Callable
    fit_args: tuple
    predict_args: tuple
    bad_inputs: Mapping[str, tuple]
    equal_inputs: Mapping[str, tuple]
    bad_fit_inputs: Mapping[str, tuple] = field(default_factory=dict)
    methods: tuple = ("predict",)
    same: Callable = assert_same
    exclusions: Mapping[str, str] = field(default_factory=dict)

    def fit(self, **parameters):
        """Fit a new estimator."""
        return self.make(**{"random_state": 0} | parameters).fit(*self.fit_args)

    @cached_property
    def _fitted(self):
        return self.fit()

    @property
    def fitted(self):
        """A copy of an estimator fitted once."""
        return copy.deepcopy(self._fitted)

    def answers(self, estimator, args=None):
        """What the methods answer."""
        return [getattr(estimator, method)(*(self.predict_args if args is None else args)) for method in self.methods]

    def assert_same_answers(self, a, b):
        """Assert that two estimators answer alike."""
        for x, y in zip(self.answers(a), self.answers(b), strict=True):
            self.same(x, y)


def check_init_stores_only(case):
    estimator_class = type(case.make())
    parameters = inspect.signature(estimator_class).parameters
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters.values())
    values = {name: object() for name in parameters}
    estimator = estimator_class(**values)
    assert vars(estimator) == values
    assert estimator.get_params(deep=False) == values


def check_set_params(case):
    estimator = case.make()
    assert estimator.set_params(lr=0.125) is estimator
    assert estimator.get_params()["lr"] == 0.125
    with pytest.raises(ValueError, match="warp_factor"):
        estimator.set_params(warp_factor=9)


def check_clone(case):
    estimator = case.fitted.set_params(lr=0.125)
    copied = clone(estimator)
    assert_same(copied.get_params(deep=False), estimator.get_params(deep=False))
    assert vars(copied).keys() == estimator.get_params(deep=False).keys()


def check_fit_returns_self(case):
    estimator = case.make()
    assert estimator.fit(*case.fit_args) is estimator


def check_refit_equals_fit(case):
    refitted = case.make(random_state=0).fit(*case.fit_args).fit(*case.fit_args)
    case.assert_same_answers(refitted, case.fitted)


def check_random_state(case):
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    again = case.fit()
    case.answers(again)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)
    assert torch.equal(torch.get_rng_state(), torch_state)
    case.assert_same_answers(again, case.fitted)
    with pytest.raises(AssertionError):
        assert_same(_weights(case.fit(random_state=1)), _weights(again))


def check_inputs_are_not_changed(case):
    before = copy.deepcopy((case.fit_args, case.predict_args))
    case.answers(case.fit())
    assert_same((case.fit_args, case.predict_args), before)


def check_fitted_attributes(case):
    estimator = case.make()
    parameters = dict(vars(estimator))
    estimator.fit(*case.fit_args)
    case.answers(estimator)
    for name, value in vars(estimator).items():
        if name in parameters:
            assert value is parameters[name], f"fit changed the hyper-parameter {name}"
        else:
            assert name.endswith("_"), f"the fitted attribute {name} does not end in _"
            assert not name.startswith("_"), f"the fitted attribute {name} is private"


def check_not_fitted(case):
    estimator = case.make()
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)
    for method in case.methods:
        with pytest.raises(NotFittedError, match="not fitted"):
            getattr(estimator, method)(*case.predict_args)
    with tempfile.TemporaryDirectory() as folder, pytest.raises(NotFittedError, match="not fitted"):
        estimator.save(Path(folder) / "estimator.safetensors")
    check_is_fitted(case.fitted)


def check_bad_parameter_is_named(case):
    with pytest.raises(ValueError, match="max_epochs"):
        case.make(max_epochs=0).fit(*case.fit_args)


def check_pickle(case):
    case.assert_same_answers(pickle.loads(pickle.dumps(case.fitted)), case.fitted)


def check_save_load(case):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "estimator.safetensors"
        case.fitted.save(path)
        assert [file.name for file in Path(folder).iterdir()] == [path.name]
        loaded = type(case.fitted).load(path)
    assert_same(loaded.get_params(deep=False), case.fitted.get_params(deep=False))
    assert vars(loaded).keys() == vars(case.fitted).keys()
    case.assert_same_answers(loaded, case.fitted)


def check_parallel_answers_are_the_same(case):
    # n_jobs=None leaves the choice to joblib; threads start at once, where processes take seconds.
    with joblib.parallel_config(backend="threading", n_jobs=2):
        parallel = case.answers(case.fitted.set_params(batch_size=1, n_jobs=None))
    for x, y in zip(parallel, case.answers(case.fitted.set_params(batch_size=1)), strict=True):
        case.same(x, y)


def check_progress(case):
    for verbose in (0, 1):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            case.answers(case.fit(verbose=verbose))
        assert out.getvalue() == ""
        assert ("100%" in err.getvalue()) is bool(verbose)


def check_bad_inputs(case, kind):
    args, message = case.bad_inputs[kind]
    estimator = case.fitted
    for method in case.methods:
        with pytest.raises(ValueError, match=message) as error:
            getattr(estimator, method)(*args)
        if kind == "wrong_unit":
            assert isinstance(error.value, u.UnitConversionError)


def check_bad_fit_inputs(case, kind):
    args, message = case.bad_fit_inputs[kind]
    with pytest.raises(ValueError, match=message):
        case.make().fit(*args)


def check_equal_inputs(case, kind):
    estimator = case.fitted
    for x, y in zip(case.answers(estimator, case.equal_inputs[kind]), case.answers(estimator), strict=True):
        case.same(x, y)


CHECKS = [
    check_init_stores_only,
    check_set_params,
    check_clone,
    check_fit_returns_self,
    check_refit_equals_fit,
    check_random_state,
    check_inputs_are_not_changed,
    check_fitted_attributes,
    check_not_fitted,
    check_bad_parameter_is_named,
    check_pickle,
    check_save_load,
    check_parallel_answers_are_the_same,
    check_progress,
]


class InputCheck:
    """A check on one kind of input."""

    def __init__(self, check, kind):
        self.check = check
        self.kind = kind
        self.__name__ = f"{check.__name__}[{kind}]"

    def __call__(self, case):
        self.check(case, self.kind)


def generate_checks(case):
    """All checks that a case has to pass, those excluded included."""
    yield from CHECKS
    missing = REQUIRED_INPUTS - case.bad_inputs.keys() - case.equal_inputs.keys()
    excluded = {kind for kind in missing if f"bad_inputs[{kind}]" in case.exclusions}
    if missing - excluded:
        raise ValueError(f"the case {case.name} has no input for: {', '.join(sorted(missing - excluded))}")
    for check, inputs in (
        (check_bad_inputs, {**dict.fromkeys(excluded), **case.bad_inputs}),
        (check_bad_fit_inputs, case.bad_fit_inputs),
        (check_equal_inputs, case.equal_inputs),
    ):
        for kind in inputs:
            yield InputCheck(check, kind)


def parametrize(*cases):
    """Make a decorator for a test with the arguments ``check`` and ``case``."""
    parameters = []
    for case in cases:
        names = set()
        for check in generate_checks(case):
            name = check.__name__.removeprefix("check_")
            names.add(name)
            reason = case.exclusions.get(name)
            marks = [] if reason is None else [pytest.mark.skip(reason=reason)]
            parameters.append(pytest.param(check, case, id=f"{case.name}-{name}", marks=marks))
        unknown = case.exclusions.keys() - names
        if unknown:
            raise ValueError(f"the case {case.name} excludes unknown checks: {', '.join(sorted(unknown))}")
    return pytest.mark.parametrize(("check", "case"), parameters)


def _weights(estimator):
    return dict(estimator.net_.module_.state_dict())
