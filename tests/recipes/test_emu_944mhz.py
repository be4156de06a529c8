"""The recipe runs from simulated skies to a shipped file."""

import hashlib
import json

import numpy as np
import pytest

from astrolearn import SourceCountRegressor
from astrolearn.core import weights
from astrolearn.counts import IndependentBins, RadioSkySimulator
from astrolearn.recipes import emu_944mhz

SMALL = {"n_skies": 5, "n_expected": 200, "max_epochs": 1}


def test_training_and_shipping(tmp_path, monkeypatch):
    out = tmp_path / "out"
    trained = emu_944mhz.train(out, n_pixels=128, **SMALL)
    assert {path.name for path in out.iterdir()} == {"regressor.safetensors", "training.json"}
    made = json.loads((out / "training.json").read_text())
    assert made == {"seed": emu_944mhz.SEED, "n_pixels": 128} | SMALL
    images = RadioSkySimulator(counts=IndependentBins(), n_pixels=128).sample(2, random_state=1)
    path = out / "regressor.safetensors"
    np.testing.assert_array_equal(SourceCountRegressor.load(path).predict(images), trained.predict(images))

    def ship_here(*args, **card):
        return weights.ship_measured(*args, folder=tmp_path, **card)

    monkeypatch.setattr(emu_944mhz, "ship_measured", ship_here)
    results = tmp_path / "results.json"
    measured = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "scores": {"rms": 0.5}, "baselines": {}}
    results.write_text(json.dumps(measured | {"sha256": "0" * 64}))
    with pytest.raises(ValueError, match="was not measured on"):
        emu_944mhz.ship(path, 1, results, "abc")
    results.write_text(json.dumps(measured))
    card = weights.read_card(emu_944mhz.ship(path, 1, results, "abc").with_suffix(".json"))
    assert card["seed"] == emu_944mhz.SEED
    assert "5 images of 128 x 128 pixels" in card["data"]
