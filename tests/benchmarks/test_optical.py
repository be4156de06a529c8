"""The rules of the comparison of star finders, and that all of them run."""

import json
from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table

pytest.importorskip("sep")

from astrolearn import PointSourceFinder
from astrolearn.sky import match
from astrolearn.sources.optical import Artefacts, MoffatPSF
from benchmarks.optical import card, fields, peers, real
from benchmarks.optical.fields import FIELDS, OTHER_FIELDS, draw, score

SMALL = replace(FIELDS["uniform, 2000 stars"], shape=(200, 200), n_stars=60, psf=MoffatPSF(2.5))


def test_truth_itself_is_perfect_and_what_is_ignored_does_not_count():
    field = replace(SMALL, n_galaxies=10, artefacts=Artefacts(full_well=300))
    (image,) = field.sample(random_state=4)
    truth = Table(image.meta["sources"])
    asked = (truth["kind"] == "star") & (truth["significance"] >= 5)
    xy = ["x_centroid", "y_centroid"]
    for catalogue in (truth[asked][xy], truth[xy]):
        result = score(catalogue, image)
        assert result.f1 == result.purity == result.completeness == 1 and result.n_false == 0 and result.rms == 0
    far = Table({name: np.append(truth[asked][name], 1.5) for name in xy})
    assert score(far, image).n_false <= 1
    half = score(truth[asked][xy][::2], image)
    assert half.purity == 1 and half.completeness == pytest.approx(0.5, abs=0.03)
    assert score(truth[xy][:0], image).f1 == 0


def test_every_peer_finds_stars(tmp_path):
    (image,) = draw(SMALL, 1, 3)
    finders = peers.Finders(None, tmp_path)
    middle = {name: {key: values[len(values) // 2] for key, values in p[1].items()} for name, p in peers.PEERS.items()}
    finders.tuned = {f"{name}, 2.5 pixels": setting for name, setting in middle.items()}
    for name in peers.PEERS:
        found = finders.run(name, image, 2.5)
        assert score(found, image).completeness > 0.3, name


def test_settings_are_tuned_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "FIELDS", {kind: replace(SMALL, n_stars=30) for kind in FIELDS})
    monkeypatch.setitem(peers.PEERS, "sep", (peers.run_sep, {"threshold": (1.0, 50.0), "contrast": (1e-4,)}))
    finders = peers.Finders(None, tmp_path, n_validation=1)
    assert finders.settings("sep", 2.5) == {"threshold": 1.0, "contrast": 1e-4}
    monkeypatch.setattr(peers, "draw", None)
    assert peers.Finders(None, tmp_path).settings("sep", 2.5)["threshold"] == 1.0


def test_other_fields_are_drawn():
    for simulator, spoil in OTHER_FIELDS.values():
        small = simulator if spoil else replace(simulator, shape=(96, 96), n_stars=20)
        (image,) = draw(small, 1, 1, spoil)
        assert np.isfinite(image.data).all() and image.meta["fwhm"] > 1
    assert fields.OTHER_FIELDS["diffraction pattern, 2.5 pixels"][0].psf.fwhm == pytest.approx(2.5, abs=0.5)


def test_the_real_image_and_its_catalogue_agree(shared_data):
    """SExtractor's positions begin at 1: at the brightest object the image has its peak."""
    image, catalogue = real.read_real(shared_data / "optical")
    brightest = catalogue[np.argmax(catalogue["significance"])]
    row, column = np.unravel_index(np.argmax(image.data), image.shape)
    assert brightest["x_centroid"] == pytest.approx(column, abs=1)
    assert brightest["y_centroid"] == pytest.approx(row, abs=1)


def test_bright_compact_objects_of_the_real_image_are_found(shared_data):
    """Where SExtractor has them, to a few hundredths of a pixel; and nothing in the image turned upside down."""
    image, catalogue = real.read_real(shared_data / "optical")
    finder = PointSourceFinder.from_pretrained("optical-stars")
    found = finder.predict(image)
    bright = catalogue[(catalogue["significance"] > 20) & (catalogue["radius"] < 2)]
    result = match(found["x_centroid", "y_centroid"], bright, 1.0, n_shifts=2)
    assert result.completeness > 0.9
    assert np.median(result.separation.value) < 0.05
    image.data = -image.data
    assert len(finder.set_params(psf=found.meta["fwhm"]).predict(image)) < 6


def test_card(tmp_path):
    numbers = {"f1": [0.9, 0.01], "n_false": [3, 1], "rms": [0.02, 0.001]}
    both = {peers.OURS: numbers, "sep": numbers}
    pages = {
        "optical-stars": {"uniform, 2000 stars, 3 pixels": both, "artefacts, 3 pixels": both, "settings": {"sep": {}}},
        "optical-elsewhere": {"stars 7 pixels wide": both},
        "optical-calibration": {"uniform": {"coverage": [0.68, 0.95]}},
        "optical-speed": {f"{peers.OURS}, 1 threads": {"processor_seconds": 9.0, "peak_gb": 1.5}},
    }
    for name, content in pages.items():
        text = json.dumps({"weights": {"name": "x", "sha256": "a"}, "numbers": content})
        (tmp_path / f"{name}.json").write_text(text)
    written = json.loads(card.write_card(tmp_path).read_text())
    assert written["scores"]["F1, stars 7 pixels wide"] == "0.900 ± 0.010"
    assert written["scores"]["false detections per field, artefacts, 3 pixels"] == "3 ± 1"
    assert written["baselines"]["F1, uniform, 2000 stars, 3 pixels (sep)"] == "0.900 ± 0.010"


def test_speed_is_measured_in_a_process_of_its_own(tmp_path, monkeypatch, capsys):
    from benchmarks.optical import speed

    monkeypatch.setattr(speed, "_SIDE", 64)
    monkeypatch.setattr(speed, "_N_STARS", 10)
    monkeypatch.setattr(speed, "_in_a_process", lambda simulator: simulator.sample(random_state=1)[0])
    path = tmp_path / "finder.safetensors"
    PointSourceFinder(kind="optical", width=4, max_epochs=1, random_state=0).fit(draw(SMALL, 1, 1)).save(path)
    for name in (peers.OURS, "sep"):
        speed._child(name, path, 1)
        assert json.loads(capsys.readouterr().out)["seconds"] > 0
