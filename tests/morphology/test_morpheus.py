"""The published network: its weights, its logits, its windows."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from astrolearn import MorphologySegmenter
from astrolearn.morphology.morpheus import Morpheus, read_variables, standardised


@pytest.fixture
def published(shared_data):
    return shared_data / "morphology" / "morpheus_weights.npz"


@pytest.fixture
def reference(shared_data):
    with np.load(shared_data / "morphology" / "morpheus_reference_io.npz") as file:
        return file["x_nhwc"].transpose(0, 3, 1, 2), file["logits_nhwc"].transpose(0, 3, 1, 2)


def logits(module, windows):
    with torch.inference_mode():
        return module.eval()(torch.tensor(windows)).numpy()


def test_outputs_of_the_original_network(published, reference):
    windows, expected = reference
    segmenter = MorphologySegmenter.from_morpheus(published)
    found = logits(segmenter.net_.module_, windows)
    assert np.abs(found - expected).max() < 1e-2
    np.testing.assert_array_equal(found.argmax(1), expected.argmax(1))
    assert sum(parameter.numel() for parameter in segmenter.net_.module_.parameters()) == 75_421
    # the inputs of the reference are standardised windows, so that doing it again changes nothing
    np.testing.assert_allclose(standardised(windows), windows, atol=2e-4)


def _epsilon(module):
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1e-5


@pytest.mark.parametrize(("mode", "corners"), [("bicubic", False), ("bilinear", True), ("nearest", None)])
def test_the_tolerance_tells_other_upsampling(published, reference, monkeypatch, mode, corners):
    module = Morpheus()
    module.load_state_dict(read_variables(published))
    original = functional.interpolate

    def interpolate(x, scale_factor, **kwargs):
        return original(x, scale_factor=scale_factor, mode=mode, align_corners=corners)

    monkeypatch.setattr("astrolearn.morphology.morpheus.functional.interpolate", interpolate)
    assert np.abs(logits(module, reference[0]) - reference[1]).max() > 1


def test_the_tolerance_tells_another_epsilon(published, reference):
    module = Morpheus()
    module.load_state_dict(read_variables(published))
    _epsilon(module)
    assert np.abs(logits(module, reference[0]) - reference[1]).max() > 1


def _without(variables):
    del variables["final_conv/conv/bias"]


def _with_another(variables):
    variables["global_step"] = np.zeros(1, np.float32)


def _of_another_shape(variables):
    variables["final_conv/conv/bias"] = np.zeros(4, np.float32)


@pytest.mark.parametrize(("change", "message"), [
    (_without, r"lacks variable\(s\) final_conv/conv/bias"), (_with_another, r"unknown variable\(s\) global_step"),
    (_of_another_shape, r"final_conv/conv/bias has the shape \(4,\)"),
])  # fmt: skip
def test_other_files_are_refused(tmp_path, change, message):
    names = _variables()
    change(names)
    path = tmp_path / "weights.npz"
    np.savez(path, **names)
    with pytest.raises(ValueError, match=message):
        MorphologySegmenter.from_morpheus(path)


def _variables():
    """Variables of an untrained network, as TensorFlow would name them."""
    from astrolearn.morphology.morpheus import _names

    state = Morpheus().state_dict()
    values = {theirs: state[ours].numpy() for theirs, ours in _names()}
    return {name: v.transpose(2, 3, 1, 0) if v.ndim == 4 else v for name, v in values.items()}


def test_variables_are_read_back(tmp_path):
    path = tmp_path / "weights.npz"
    variables = _variables()
    assert len(variables) == 116
    np.savez(path, **variables)
    module = MorphologySegmenter.from_morpheus(path).net_.module_
    kernel = variables["upconv-1/conv-0/conv/kernel"]
    assert kernel.shape == (3, 3, 24, 16)
    np.testing.assert_array_equal(module.up[1][0][1].weight.detach().numpy(), kernel.transpose(3, 2, 0, 1))


def test_files_that_are_no_archives(tmp_path):
    with pytest.raises(FileNotFoundError):
        MorphologySegmenter.from_morpheus(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(OSError, match=r"text\.npz is not a readable \.npz file"):
        MorphologySegmenter.from_morpheus(tmp_path / "text.npz")
    np.savez(tmp_path / "whole.npz", **_variables())
    content = (tmp_path / "whole.npz").read_bytes()
    for name, damaged in (("short", content[:-500]), ("flipped", content[:9000] + b"\0\1" + content[9002:])):
        (tmp_path / f"{name}.npz").write_bytes(damaged)
        with pytest.raises(OSError, match=rf"{name}\.npz is not a readable \.npz file"):
            MorphologySegmenter.from_morpheus(tmp_path / f"{name}.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(OSError, match=r"one\.npy is not a readable"):
        MorphologySegmenter.from_morpheus(tmp_path / "one.npy")


def test_standardisation():
    rng = np.random.default_rng(0)
    windows = rng.normal(3, 2, (5, 4, 40, 40)).astype(np.float32)
    expected = (windows - windows.mean((1, 2, 3), keepdims=True)) / windows.std((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(standardised(windows), expected, atol=1e-5)
    # what is not observed takes no part, whatever else there is
    holed = windows.copy()
    holed[:, :, 10:20] = np.nan
    seen = ~np.isnan(holed[0])
    found = standardised(holed)
    assert (found[:, ~seen] == 0).all()
    assert found[0][seen].mean() == pytest.approx(0, abs=1e-5)
    assert found[0][seen].std() == pytest.approx(1, abs=1e-5)
    # TensorFlow's floor of the standard deviation, 1 / sqrt(6400)
    np.testing.assert_allclose(standardised(np.full((1, 4, 40, 40), 7, np.float32)), 0)
    faint = (windows - 3) * 1e-5
    np.testing.assert_allclose(standardised(faint).std((1, 2, 3)), 2e-5 * 80, rtol=0.05)


@pytest.mark.parametrize("parameters", [{"bands": ("a", "b")}, {"classes": ("a", "b")}, {"architecture": "unet"}])
def test_parameters_that_do_not_fit_the_weights(tmp_path, parameters):
    np.savez(tmp_path / "weights.npz", **_variables())
    with pytest.raises(ValueError, match="these weights"):
        MorphologySegmenter.from_morpheus(tmp_path / "weights.npz", **parameters)
