"""The recipe runs from its simulations to a shipped file; what it takes forty minutes for is not repeated here."""

import hashlib
import json

import numpy as np
import pytest

from astrolearn import PointSourceFinder
from astrolearn.core import weights
from astrolearn.recipes import optical_stars

SMALL = {"n_images": 2, "n_held": 2, "max_epochs": 1, "side": 128}


def test_training_and_shipping(tmp_path, monkeypatch):
    out = tmp_path / "out"
    finder = optical_stars.train(out, **SMALL, width=6)
    assert {path.name for path in out.iterdir()} == {"checkpoint.safetensors", "finder.safetensors", "training.json"}
    assert json.loads((out / "training.json").read_text()) == {"seed": optical_stars.SEED} | SMALL
    path = out / "finder.safetensors"
    loaded = PointSourceFinder.load(path)
    assert type(finder) is PointSourceFinder and loaded.calibration_ == finder.calibration_
    assert loaded.kind == "optical" and 0.2 <= loaded.threshold <= 0.9
    (image,) = optical_stars.simulate_images(1, 99, 128)
    np.testing.assert_array_equal(loaded.predict_map(image).data, finder.predict_map(image).data)

    def ship_here(*args, **card):
        return weights.ship_measured(*args, folder=tmp_path, **card)

    monkeypatch.setattr(optical_stars, "ship_measured", ship_here)
    results = tmp_path / "results.json"
    measured = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "scores": {"F1": 0.5}, "baselines": {}}
    results.write_text(json.dumps(measured | {"sha256": "0" * 64}))
    with pytest.raises(ValueError, match="was not measured on"):
        optical_stars.ship(path, 1, results, "abc")
    results.write_text(json.dumps(measured))
    card = weights.read_card(optical_stars.ship(path, 1, results, "abc").with_suffix(".json"))
    assert card["seed"] == optical_stars.SEED and "2 images of 128 x 128 pixels" in card["data"]


def test_images_are_of_many_cameras_and_seeded():
    images = list(optical_stars.simulate_images(40, 5, 64))
    again = list(optical_stars.simulate_images(3, 5, 64))
    np.testing.assert_array_equal(again[2].data, images[2].data)
    widths = [image.meta["fwhm"] for image in images]
    assert min(widths) < 2 and max(widths) > 5 and min(widths) >= 1.4 and max(widths) <= 6.5
    assert 2 < sum(image.mask is not None for image in images) < 20
    assert 2 < sum(image.uncertainty is not None for image in images) < 20
    assert 3 < sum("SATURATE" in image.meta for image in images) < 25
    assert len({image.meta["gain"] for image in images}) == 40
