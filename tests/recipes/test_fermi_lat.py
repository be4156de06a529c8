"""The recipe runs from its simulations to a shipped file; what it takes an hour for is not repeated here."""

import hashlib
import json

import numpy as np
import pytest
from toy import toy_sky

from astrolearn import PointSourceFinder
from astrolearn.core import weights
from astrolearn.recipes import fermi_lat


def test_training_saves_every_epoch_and_the_finder(tmp_path, monkeypatch):
    monkeypatch.setattr(fermi_lat, "training_maps", lambda n, diffuse, seed: [toy_sky(s) for s in range(n)])
    monkeypatch.setattr(fermi_lat, "calibration_maps", lambda n, diffuse, seed: [toy_sky(90 + s) for s in range(n)])
    finder = fermi_lat.train(tmp_path, n_maps=2, n_rounds=1, max_epochs=1)
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"checkpoint.safetensors", "finder.safetensors", "training.json"}
    assert json.loads((tmp_path / "training.json").read_text())["seed"] == fermi_lat.SEED == finder.random_state
    loaded = PointSourceFinder.load(tmp_path / "finder.safetensors")
    assert type(finder) is PointSourceFinder and loaded.calibration_ == finder.calibration_
    np.testing.assert_array_equal(loaded.predict_map(toy_sky(9)).data, finder.predict_map(toy_sky(9)).data)


def test_only_what_was_measured_is_shipped(tmp_path, monkeypatch):
    def release_here(*args, **card):
        return weights.ship_measured(*args, folder=tmp_path, **card)

    monkeypatch.setattr(fermi_lat, "ship_measured", release_here)
    path = tmp_path / "finder.safetensors"
    PointSourceFinder(width=4, max_epochs=1, batch_size=4, random_state=0).fit(toy_sky(0)).save(path)
    (tmp_path / "training.json").write_text('{"seed": 3, "n_maps": 1, "diffuse": "some_model.fits"}')
    results = tmp_path / "results.json"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    measured = {"sha256": digest, "scores": {"f1": 0.5}, "baselines": {"ts map f1": 0.4}}
    results.write_text(json.dumps(measured | {"sha256": "0" * 64}))
    with pytest.raises(ValueError, match="was not measured on"):
        fermi_lat.ship(path, 1, results, "abc")
    results.write_text(json.dumps(measured))
    shipped = fermi_lat.ship(path, 1, results, "abc")
    assert shipped.read_bytes() == path.read_bytes()
    card = weights.read_card(shipped.with_suffix(".json"))
    assert card["seed"] == 3 and "some_model.fits" in card["data"]
    assert card["scores"] == {"f1": 0.5} and card["recipe"] == "astrolearn.recipes.fermi_lat"


def test_families_differ_and_are_seeded(monkeypatch):
    simulators = []

    class Recorder:
        def __init__(self, edges, **options):
            simulators.append((edges, options))

        def sample(self, n, seed):
            return [toy_sky(0)]

        def simulate_image(self, center, shape, scale, **options):
            image = toy_sky(0)
            return type("Image", (), {"meta": {"background": image}})()

    monkeypatch.setattr(fermi_lat, "LATSkySimulator", Recorder)
    monkeypatch.setattr(fermi_lat, "GalacticTemplate", lambda path: path)
    for _ in range(2):
        list(fermi_lat.training_maps(24, "template"))
    half = len(simulators) // 2
    first, again = simulators[:half], simulators[half:]
    assert {o["nside"] for _, o in first} >= {128, 256}
    for (edges, options), (same_edges, same_options) in zip(first, again, strict=True):
        assert np.all(edges == same_edges) and options == same_options
        assert np.all(np.diff(edges.value) > 0) and edges.value[0] >= 0.3 and edges.value[-1] <= 2000
