"""The recipe runs from its simulations to a shipped file; a training that was cut short goes on from what it kept."""

import hashlib
import json

import numpy as np
import pytest
from toy import toy_years

from astrolearn import SourceClassifier
from astrolearn.core import weights
from astrolearn.recipes import fermi_lat_classes
from astrolearn.recipes.checkpoints import fit_with_checkpoints
from astrolearn.sources.classes.detections import prepare

SMALL = {"n_years": 2, "n_each": 4, "n_fake": 4, "nside": 32, "background": 6.0}
NUMBERS = {"n_skies": 4, "n_calibration": 2}
PARAMETERS = {"width": 4, "max_epochs": 1, "batch_size": 8}


def look_at_toy(seed, simulator, bare=False):
    maps, catalogue, classes = toy_years(seed % 1000, **SMALL)
    for skymap in maps if bare else ():
        skymap.background = None
    # the recipe weighs nebulae and remnants, too
    classes = np.where(np.arange(len(classes)) % 4 == 3, "pwn_snr", classes)
    return prepare(maps, catalogue["coord"], catalogue["probability"], psf=None), classes, catalogue


@pytest.fixture
def looked(monkeypatch):
    """Seeds of the skies that were simulated, and whether without the template."""
    calls = []

    def look(seed, simulator, bare=False):
        calls.append((seed, bare))
        return look_at_toy(seed, simulator, bare)

    monkeypatch.setattr(fermi_lat_classes, "look_at_sky", look)
    monkeypatch.setattr(fermi_lat_classes, "GalacticTemplate", lambda path: path)
    monkeypatch.setattr(fermi_lat_classes, "LATSkySimulator", lambda **options: options)
    return calls


def test_training_keeps_skies_and_goes_on_from_them(looked, tmp_path):
    first = fermi_lat_classes.train(tmp_path, "model.fits", **NUMBERS, **PARAMETERS)
    assert [bare for _, bare in looked] == [False, False, False, True, False, False]
    assert len({seed for seed, _ in looked}) == 6  # no sky calibrates that was trained on
    names = {path.name for path in tmp_path.iterdir()}
    skies = {f"sky-{seed}.joblib" for seed, _ in looked}
    assert names == skies | {"checkpoint.safetensors", "classifier.safetensors", "training.json"}
    made = json.loads((tmp_path / "training.json").read_text())
    assert made == NUMBERS | {"seed": 70, "diffuse": "model.fits", "finder": "fermi-lat-1",
                              "event_type": "FRONT+BACK"}  # fmt: skip
    assert first.class_weight == fermi_lat_classes.CLASS_WEIGHT
    assert first.random_state == made["seed"]
    loaded = SourceClassifier.load(tmp_path / "classifier.safetensors")
    seen, _, _ = look_at_toy(9, None)
    np.testing.assert_array_equal(loaded.predict_proba(seen, None), first.predict_proba(seen, None))
    # one sky is lost: it alone is made again, and the result is the same
    lost, _ = looked[2]
    (tmp_path / f"sky-{lost}.joblib").unlink()
    looked.clear()
    again = fermi_lat_classes.train(tmp_path, "model.fits", **NUMBERS, **PARAMETERS)
    assert looked == [(lost, False)]
    np.testing.assert_allclose(again.predict_proba(seen, None), first.predict_proba(seen, None), rtol=1e-5)


def test_recalibration_leaves_the_network(looked, tmp_path):
    fermi_lat_classes.train(tmp_path, "model.fits", **NUMBERS, **PARAMETERS)
    classifier = SourceClassifier.load(tmp_path / "classifier.safetensors")
    weights_before = {name: value.clone() for name, value in classifier.net_.module_.state_dict().items()}
    calibration = classifier.calibration_
    fermi_lat_classes.calibrate(classifier, tmp_path, "model.fits", n_skies=3)
    after = SourceClassifier.load(tmp_path / "classifier.safetensors")
    assert all(np.array_equal(value, weights_before[name]) for name, value in after.net_.module_.state_dict().items())
    assert not np.array_equal(after.calibration_["slope"], calibration["slope"])
    assert len(looked) == 7  # the two skies of the first calibration are taken from the folder


def test_only_what_was_measured_is_shipped(tmp_path, monkeypatch):
    monkeypatch.setattr(fermi_lat_classes, "ship_measured",
                        lambda *args, **card: weights.ship_measured(*args, folder=tmp_path, **card))  # fmt: skip
    path, (seen, classes, _) = tmp_path / "classifier.safetensors", look_at_toy(1, None)
    SourceClassifier(random_state=0, **PARAMETERS).fit([(seen, None, classes)]).save(path)
    made = {"seed": 3, "n_skies": 5, "n_calibration": 2, "diffuse": "model.fits", "finder": "fermi-lat-1",
            "event_type": "FRONT+BACK"}  # fmt: skip
    (tmp_path / "training.json").write_text(json.dumps(made))
    results, digest = tmp_path / "results.json", hashlib.sha256(path.read_bytes()).hexdigest()
    measured = {"sha256": digest, "scores": {"accuracy": 0.5}, "baselines": {"most frequent class": 0.4}}
    results.write_text(json.dumps(measured | {"sha256": "0" * 64}))
    with pytest.raises(ValueError, match="was not measured on"):
        fermi_lat_classes.ship(path, 1, results, "abc")
    results.write_text(json.dumps(measured))
    shipped = fermi_lat_classes.ship(path, 1, results, "abc")
    assert shipped.name == "fermi-lat-classes-1.safetensors"
    assert shipped.read_bytes() == path.read_bytes()
    card = weights.read_card(shipped.with_suffix(".json"))
    assert card["seed"] == 3
    assert card["scores"] == {"accuracy": 0.5}
    assert card["recipe"] == "astrolearn.recipes.fermi_lat_classes"
    assert all(text in card["data"] for text in ("5 skies", "fermi-lat-1", "model.fits", "FRONT+BACK"))


def test_checkpoints(tmp_path):
    """The estimator is what fit alone makes of it, with its own options; a failed training leaves them, too."""
    seen, classes, _ = look_at_toy(1, None)
    plain = SourceClassifier(random_state=0, **PARAMETERS).fit([(seen, None, classes)])
    one = SourceClassifier(random_state=0, **PARAMETERS)
    assert fit_with_checkpoints(one, tmp_path, [(seen, None, classes)]) is one
    assert (tmp_path / "checkpoint.safetensors").is_file()
    assert [one.verbose, one.n_jobs] == [0, None]
    np.testing.assert_array_equal(one.predict_proba(seen, None), plain.predict_proba(seen, None))
    with pytest.raises(ValueError, match="two classes"):
        fit_with_checkpoints(one, tmp_path, [(seen, None, np.full(len(seen), "psr"))])
    assert [one.verbose, one.n_jobs] == [0, None]
    assert "_net_options" not in vars(one)
