"""The recipe runs from simulated fields to a shipped file."""

import hashlib
import json

import numpy as np
import pytest

from astrolearn import MorphologySegmenter
from astrolearn.core import weights
from astrolearn.recipes import hst_simulated

SMALL = {"n_scenes": 9, "shape": (64, 64), "max_epochs": 1, "width": 4}


def test_fields_of_both_kinds_calibrate():
    magnitudes = [scene.sources["mag_F160W"].value for scene in hst_simulated.training_scenes(16, shape=(96, 96))]
    deep = np.array([max(own, default=0) > 24 for own in magnitudes])
    assert deep.sum() == 8
    assert deep[7] != deep[15]
    again = [scene.sources["mag_F160W"].value for scene in hst_simulated.training_scenes(5, shape=(96, 96))]
    for a, b in zip(again, magnitudes[:5], strict=True):
        np.testing.assert_array_equal(a, b)


def test_training_and_shipping(tmp_path, monkeypatch):
    out = tmp_path / "out"
    trained = hst_simulated.train(out, **SMALL)
    assert {path.name for path in out.iterdir()} == {"segmenter.safetensors", "training.json"}
    made = json.loads((out / "training.json").read_text())
    assert made == {"seed": hst_simulated.SEED, "n_scenes": 9, "shape": [64, 64], "max_epochs": 1, "width": 4}
    (scene,) = hst_simulated.training_scenes(1, seed=1, shape=(64, 64))
    path = out / "segmenter.safetensors"
    loaded = MorphologySegmenter.load(path)
    np.testing.assert_array_equal(loaded.predict_proba(scene.images), trained.predict_proba(scene.images))

    def ship_here(*args, **card):
        return weights.ship_measured(*args, folder=tmp_path, **card)

    monkeypatch.setattr(hst_simulated, "ship_measured", ship_here)
    results = tmp_path / "results.json"
    measured = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "scores": {"accuracy": 0.5}, "baselines": {}}
    results.write_text(json.dumps(measured | {"sha256": "0" * 64}))
    with pytest.raises(ValueError, match="was not measured on"):
        hst_simulated.ship(path, 1, results, "abc")
    results.write_text(json.dumps(measured))
    card = weights.read_card(hst_simulated.ship(path, 1, results, "abc").with_suffix(".json"))
    assert card["seed"] == hst_simulated.SEED
    assert "9 fields of 64 x 64 pixels" in card["data"]
