from functools import partial

import astropy.units as u
import numpy as np
import pytest
import torch
from example_estimator import SlopeRegressor, make_light_curves
from numpy.testing import assert_array_equal
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils import get_tags

from astrolearn.core import estimator as estimator_module
from astrolearn.core import net as net_module
from astrolearn.core.estimator import NetworkEstimator
from astrolearn.core.inputs import to_float
from astrolearn.core.weights import find_pretrained, release

X, y = make_light_curves(48)


@pytest.fixture(scope="module")
def fitted():
    return SlopeRegressor(random_state=0, max_epochs=20, scale=1 * u.Jy).fit(X, y)


def test_it_learns(fitted):
    assert fitted.score(X, y) > 0.8
    assert fitted.net_.history[-1]["train_loss"] < fitted.net_.history[0]["train_loss"] / 2


def test_works_with_sklearns_tools():
    estimator = SlopeRegressor(random_state=0, max_epochs=20)
    assert np.mean(cross_val_score(estimator, X, y, cv=2)) > 0.5
    search = GridSearchCV(estimator, {"scale": ["1 Jy", "1000 Jy"]}, cv=2).fit(X, y)
    assert search.best_params_ == {"scale": "1 Jy"}


def test_tags():
    assert not get_tags(SlopeRegressor()).input_tags.two_d_array
    assert get_tags(SlopeRegressor()).estimator_type == "regressor"

    class Tabular(SlopeRegressor):
        _tabular = True

    assert get_tags(Tabular()).input_tags.two_d_array


def test_generator_as_random_state():
    first, second = (SlopeRegressor(random_state=np.random.default_rng(1)).fit(X, y) for _ in range(2))
    assert_array_equal(first.predict(X), second.predict(X))
    rng = np.random.default_rng(1)
    first, second = (SlopeRegressor(random_state=rng).fit(X, y) for _ in range(2))
    assert np.any(first.predict(X) != second.predict(X))


def test_generator_is_no_part_of_what_is_saved(tmp_path):
    fitted = SlopeRegressor(random_state=np.random.default_rng(1), device=torch.device("cpu")).fit(X, y)
    fitted.save(tmp_path / "slope.safetensors")
    loaded = SlopeRegressor.load(tmp_path / "slope.safetensors")
    assert loaded.random_state is None
    assert loaded.device == "cpu"
    assert_array_equal(loaded.predict(X), fitted.predict(X))


def test_loaded_estimator_is_the_same(fitted, tmp_path):
    path = tmp_path / "slope.safetensors"
    fitted.save(path)
    torch_state = torch.get_rng_state()
    loaded = SlopeRegressor.load(path)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert_array_equal(loaded.predict(X), fitted.predict(X))
    assert loaded.get_params() == fitted.get_params()
    assert loaded.offset_ == fitted.offset_
    again = tmp_path / "again.safetensors"
    loaded.save(again)
    assert again.read_bytes() == path.read_bytes()
    assert_array_equal(loaded.fit(X, y).predict(X), fitted.predict(X))


def test_existing_file_is_kept(fitted, tmp_path):
    path = tmp_path / "slope.safetensors"
    fitted.save(path)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        fitted.save(path)
    fitted.save(path, overwrite=True)


class OtherRegressor(SlopeRegressor):
    pass


def test_file_of_another_class(fitted, tmp_path):
    fitted.save(tmp_path / "slope.safetensors")
    with pytest.raises(ValueError, match="holds a SlopeRegressor, not a OtherRegressor"):
        OtherRegressor.load(tmp_path / "slope.safetensors")


@pytest.mark.parametrize("change", ["parameter", "attribute", "missing", "network"])
def test_file_of_another_version_of_the_class(fitted, tmp_path, change, monkeypatch):
    path = tmp_path / "slope.safetensors"
    if change == "missing":
        monkeypatch.setattr(SlopeRegressor, "_fitted_names", ("offset_",))
    fitted.save(path)
    if change == "missing":
        monkeypatch.undo()
    elif change == "parameter":
        monkeypatch.setattr(SlopeRegressor, "__init__", NetworkEstimator.__init__)
    elif change == "attribute":
        monkeypatch.setattr(SlopeRegressor, "_fitted_names", ("n_samples_",))
    else:
        monkeypatch.setattr(SlopeRegressor, "_network", lambda self: partial(torch.nn.Linear, 2, 2))
    with pytest.raises(ValueError, match="slope.safetensors does not fit this version of SlopeRegressor"):
        SlopeRegressor.load(path)


def test_device_that_this_machine_lacks(fitted, tmp_path, monkeypatch):
    path = tmp_path / "slope.safetensors"
    fitted.set_params(device="cuda:7").save(path)
    fitted.set_params(device="auto")
    loaded = SlopeRegressor.load(path)
    assert loaded.device == "auto"
    assert_array_equal(loaded.predict(X), fitted.predict(X))


def test_from_pretrained(fitted, tmp_path, monkeypatch):
    card = {"recipe": "", "seed": 0, "data": "", "git_revision": "", "trained_on": "", "scores": {}, "baselines": {}}
    release(fitted, "slope", 1, folder=tmp_path, **card)
    monkeypatch.setattr(estimator_module, "find_pretrained", lambda name: find_pretrained(name, tmp_path))
    assert_array_equal(SlopeRegressor.from_pretrained("slope").predict(X), fitted.predict(X))
    with pytest.raises(ValueError, match="no pretrained weights 'slop'; available: slope-1"):
        SlopeRegressor.from_pretrained("slop")
    with pytest.raises(ValueError, match="holds a SlopeRegressor"):
        OtherRegressor.from_pretrained("slope")


@pytest.mark.parametrize(
    "parameters",
    [
        {"device": "warp"},
        {"batch_size": 0},
        {"max_epochs": 1.5},
        {"lr": 0.0},
        {"random_state": "seed"},
        {"verbose": "loud"},
        {"n_jobs": 0.5},
        {"scale": "1 m"},
    ],
    ids=str,
)
def test_bad_parameter_is_named(parameters):
    (name,) = parameters
    with pytest.raises(ValueError, match=name):
        SlopeRegressor(**parameters).fit(X, y)


def test_processes_give_the_same_answer(fitted):
    expected = fitted.predict(X)
    fitted.set_params(n_jobs=2)
    assert_array_equal(fitted.predict(X), expected)
    fitted.set_params(n_jobs=None)


class Images(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 8, 3, padding=1)
        self.point = torch.nn.Conv2d(8, 1, 1)

    def forward(self, image, background):
        return self.point(torch.relu(self.conv(image - background)))[:, 0]


class ImageRegressor(NetworkEstimator):
    """Two images in, one out, trained in mixed precision."""

    _mixed_precision = True

    def _network(self):
        return Images

    def _net_options(self):
        return {"criterion": torch.nn.MSELoss}

    def fit(self, X, y):
        self._fit_net(X, to_float(y))
        return self

    def predict(self, X):
        return self._forward(X)


def test_mixed_precision_and_several_inputs(tmp_path, monkeypatch):
    monkeypatch.setattr(net_module, "supports_bfloat16", lambda device: True)
    monkeypatch.setattr("astrolearn.core.compute.supports_bfloat16", lambda device: True)
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(size=(20, 1, 9, 11)).astype(np.float32) for name in ("image", "background")}
    targets = (inputs["image"] - inputs["background"])[:, 0]
    fitted = ImageRegressor(random_state=0, batch_size=4, max_epochs=30, lr=0.02).fit(inputs, targets)
    predicted = fitted.predict(inputs)
    assert predicted.dtype == np.float32
    assert np.mean((predicted - targets) ** 2) < 0.2 * np.var(targets)
    fitted.save(tmp_path / "images.safetensors")
    assert_array_equal(ImageRegressor.load(tmp_path / "images.safetensors").predict(inputs), predicted)


def test_batches_stream(fitted):
    read = []

    def batches():
        for start in range(0, 48, 8):
            read.append(start)
            yield to_float(X[start : start + 8], u.Jy)

    outputs = fitted._forward_batches(batches())
    assert next(outputs).shape == (8, 1)
    assert len(read) < 6
    assert len(list(outputs)) == 5
