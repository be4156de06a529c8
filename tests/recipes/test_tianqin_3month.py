"""The recipe runs from its simulations to a shipped file, on shorter series."""

import hashlib
import json

import numpy as np
import pytest

from astrolearn import EMRIDetector
from astrolearn.core import weights
from astrolearn.emri import EMRIPopulation
from astrolearn.recipes import tianqin_3month

SMALL = {"n_signals": 12, "n_draws": 2, "n_noise": 20, "max_epochs": 2}


@pytest.fixture
def trained(tmp_path, monkeypatch):
    easy = EMRIPopulation(snr=30, n_samples=8192, mass_1=(1e6, 2e6), time_to_plunge=(30, 60), e_plunge=0.01)
    monkeypatch.setattr(tianqin_3month, "training_population", lambda: easy)
    return tianqin_3month.train(tmp_path, **SMALL)


def test_training_leaves_the_detector_and_what_it_took(trained, tmp_path):
    assert {path.name for path in tmp_path.iterdir()} == {"detector.safetensors", "training.json"}
    assert json.loads((tmp_path / "training.json").read_text()) == {
        "seed": tianqin_3month.SEED, "snr": [30, 30],
    } | SMALL
    loaded = EMRIDetector.load(tmp_path / "detector.safetensors")
    x = np.random.default_rng(0).normal(size=(2, 2, 8192))
    np.testing.assert_array_equal(loaded.decision_function(x), trained.decision_function(x))
    assert len(loaded.noise_scores_) == 20


def test_a_network_is_calibrated_anew(trained, tmp_path):
    again = tianqin_3month.recalibrate(tmp_path / "detector.safetensors", tmp_path / "again")
    x = np.random.default_rng(0).normal(size=(2, 2, 8192))
    np.testing.assert_array_equal(again.decision_function(x), trained.decision_function(x))
    assert len(again.noise_scores_) == 20
    assert not np.isin(again.noise_scores_, trained.noise_scores_).any()
    assert np.isfinite(again.calibration_).all()
    assert {path.name for path in (tmp_path / "again").iterdir()} == {"detector.safetensors", "training.json"}


def test_only_what_was_measured_is_shipped(trained, tmp_path, monkeypatch):
    def ship_here(*args, **card):
        return weights.ship_measured(*args, folder=tmp_path, **card)

    monkeypatch.setattr(tianqin_3month, "ship_measured", ship_here)
    path, results = tmp_path / "detector.safetensors", tmp_path / "results.json"
    measured = {"sha256": "0" * 64, "scores": {"tap": 0.5}, "baselines": {"track tap": 0.4}}
    results.write_text(json.dumps(measured))
    with pytest.raises(ValueError, match="was not measured on"):
        tianqin_3month.ship(path, 1, results, "abc")
    results.write_text(json.dumps(measured | {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}))
    shipped = tianqin_3month.ship(path, 1, results, "abc")
    card = weights.read_card(shipped.with_suffix(".json"))
    assert card["seed"] == tianqin_3month.SEED
    assert "12 analytic-kludge signals" in card["data"]
    assert card["scores"] == {"tap": 0.5}


def test_population_of_the_recipe():
    population = tianqin_3month.training_population()
    assert population.snr == (12, 50)
    assert population.n_samples == 262144


def test_a_file_that_changes_when_saved_again_is_not_left_among_the_weights(trained, tmp_path):
    class Altered:
        @staticmethod
        def load(path):
            return EMRIDetector.load(path).set_params(prior_odds=3.0)

    path, results, folder = tmp_path / "detector.safetensors", tmp_path / "results.json", tmp_path / "weights"
    folder.mkdir()
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    results.write_text(json.dumps({"sha256": sha256, "scores": {}, "baselines": {}}))
    card = dict.fromkeys(("recipe", "data", "git_revision", "trained_on"), "x") | {"seed": 1}
    with pytest.raises(ValueError, match="does not come out as the file that was measured"):
        weights.ship_measured(Altered, path, "altered", 1, results, folder=folder, **card)
    assert not list(folder.iterdir())
