import pickle

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from astrolearn.core import net as net_module
from astrolearn.core.net import EpochProgress, Net, OneCycle, forward


class Images(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 3, 3)
        self.dense = torch.nn.Linear(3, 1)
        self.seen = []

    def forward(self, x):
        features = self.conv(x)
        self.seen.append((self.training, features.dtype, x.is_contiguous(memory_format=torch.channels_last)))
        return self.dense(features.mean((2, 3)))


class TwoInputs(torch.nn.Module):
    def forward(self, fine, coarse):
        return fine + coarse


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(6, 2, 5, 7)).astype(np.float32), rng.normal(size=(6, 1)).astype(np.float32)


def make_net(**kwargs):
    torch.manual_seed(0)
    defaults = {"criterion": torch.nn.MSELoss, "max_epochs": 2, "train_split": None, "verbose": 0}
    return Net(Images, **defaults | kwargs)


@pytest.mark.parametrize("supported", [True, False])
def test_only_training_steps_are_in_bfloat16_and_only_where_supported(monkeypatch, data, supported):
    monkeypatch.setattr(net_module, "supports_bfloat16", lambda device: supported)
    monkeypatch.setattr("astrolearn.core.compute.supports_bfloat16", lambda device: supported)
    net = make_net(mixed_precision=True).fit(*data)
    net.predict(data[0])
    training = {(dtype, last) for is_training, dtype, last in net.module_.seen if is_training}
    predicting = {(dtype, last) for is_training, dtype, last in net.module_.seen if not is_training}
    assert training == {(torch.bfloat16, True) if supported else (torch.float32, False)}
    assert predicting == {(torch.float32, False)}
    assert all(parameter.dtype == torch.float32 for parameter in net.module_.parameters())


def test_mixed_precision_is_close_to_full_precision(monkeypatch, data):
    monkeypatch.setattr(net_module, "supports_bfloat16", lambda device: True)
    monkeypatch.setattr("astrolearn.core.compute.supports_bfloat16", lambda device: True)
    mixed, full = make_net(mixed_precision=True).fit(*data), make_net().fit(*data)
    np.testing.assert_allclose(mixed.history[:, "train_loss"], full.history[:, "train_loss"], rtol=0.02)


def test_trained_weights_lie_as_new_ones_do(monkeypatch, data):
    monkeypatch.setattr(net_module, "supports_bfloat16", lambda device: True)
    trained = make_net(mixed_precision=True).fit(*data).module_
    assert [p.stride() for p in trained.parameters()] == [p.stride() for p in Images().parameters()]


def test_progress_of_training(data, capsys):
    net = make_net(callbacks=[EpochProgress("training images")]).fit(*data)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "training images: 100%" in shown.err
    assert "2/2" in shown.err
    assert "train_loss" in shown.err
    pickle.dumps(net)


def test_forward():
    device = torch.device("cpu")
    ones = np.ones((2, 3), np.float32)
    ones.flags.writeable = False  # as joblib hands large arrays to its workers
    result = forward(TwoInputs(), device, {"fine": ones, "coarse": ones})
    np.testing.assert_array_equal(result, 2 * ones)
    np.testing.assert_array_equal(forward(torch.nn.Identity(), device, ones), ones)


def test_learning_rate_rises_and_falls_to_nothing(data):
    rates = []

    class Watch(Callback):
        def on_batch_begin(self, net, training=False, **kwargs):
            rates.append(net.optimizer_.param_groups[0]["lr"])

    make_net(lr=0.01, max_epochs=20, batch_size=4, callbacks=[OneCycle(), Watch()]).fit(*data)
    assert len(rates) == 40
    assert max(rates) == pytest.approx(0.01, rel=0.01)
    assert np.argmax(rates) == pytest.approx(0.15 * 40, abs=1)
    assert rates[0] < 0.001
    assert rates[-1] < 1e-4
    assert (np.diff(rates[7:]) < 0).all()
