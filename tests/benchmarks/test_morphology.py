"""The benchmarks' scores of morphology on answers that are known, and all methods on small fields."""

import json

import numpy as np
import pytest

from astrolearn import MorphologySegmenter
from astrolearn.core.tables import SampleTable
from astrolearn.morphology import GalaxySceneSimulator
from astrolearn.morphology.segmenter import CLASSES
from benchmarks.morphology import card, real, scores, simulated, speed
from benchmarks.morphology.context import Context
from benchmarks.morphology.peers import BoostedShapes, positions
from benchmarks.morphology.scores import Fields, bootstrap
from benchmarks.report import Report

SIMULATOR = GalaxySceneSimulator(shape=(128, 128), density=800, magnitudes=(19, 24.5))
SCENES = SIMULATOR.sample(10, 0)


def truth(scene):
    """A catalogue that is right in everything."""
    sources = scene.sources[scene.sources["label"] > 0]
    sure = {f"p_{name}": np.asarray(sources["class"] == name, float) for name in CLASSES}
    return SampleTable({name: np.asarray(sources[name]) for name in ("x_centroid", "y_centroid", "class")} | sure)


def scored(change=lambda table: table):
    fields = Fields()
    for scene in SCENES[:4]:
        fields.add(scene, change(truth(scene)), scene.labels.argmax(0))
    return fields


def test_scores_of_the_truth():
    fields = scored()
    assert fields.completeness() == fields.purity() == fields.accuracy() == fields.source_overlap() == 1
    np.testing.assert_array_equal(fields.overlap(), 1)
    np.testing.assert_array_equal(fields.recall()[fields.confusion().sum(1) > 0], 1)
    assert fields.calibration_error() == 0
    value, error = bootstrap(fields, Fields.accuracy)
    assert (value, error) == (1, 0)


def test_scores_of_errors():
    half = scored(lambda table: table[::2])
    assert half.completeness() == pytest.approx(0.5, abs=0.06)
    assert half.purity() == 1

    def twisted(table):
        table["class"] = np.where(table["class"] == "disk", "irregular", table["class"])
        return table

    fields = scored(twisted)
    table = fields.confusion()
    assert table[1, 2] == table[1].sum() > 0
    assert fields.recall()[1] == 0
    assert fields.accuracy() == pytest.approx(1 - table[1].sum() / table.sum())

    def beside(table):
        far = SampleTable(table, copy=True)
        far["x_centroid"] = -50 - far["x_centroid"]
        return SampleTable(np.concatenate([np.asarray(table), np.asarray(far)]))

    # a little less than half, because sources with their centres beyond the border do not count
    assert 0.4 < scored(beside).purity() <= 0.5


def test_calibration_of_a_coin():
    def coin(table):
        for name in CLASSES:
            table[f"p_{name}"] = 0.25
        return table

    fields = scored(coin)
    share = np.eye(4)[np.concatenate(fields.true)].mean()
    assert fields.calibration_error() == pytest.approx(abs(share - 0.25), abs=1e-9)


def test_peer_learns_shapes():
    settings = {"threshold": 1.0}
    peer = BoostedShapes(settings).fit(SCENES[:8])
    fields, places = Fields(), Fields()
    for scene in SCENES[8:]:
        fields.add(scene, peer.catalog(scene.images))
        places.add(scene, positions(scene.images, **settings))
    assert fields.completeness() == places.completeness() > 0.8
    assert fields.accuracy() > 0.5


@pytest.mark.filterwarnings("ignore:Degrees of freedom", "ignore:invalid value encountered")
def test_all_pages(tmp_path, monkeypatch, shared_data):
    labels = [scene.labels for scene in SCENES]
    segmenter = MorphologySegmenter(width=8, max_epochs=20, lr=5e-3, random_state=0)
    segmenter.fit([scene.images for scene in SCENES], labels)
    context = Context(segmenter, {"name": "small", "sha256": "0" * 64}, shared_data, tmp_path, 2)
    context.scenes = SIMULATOR.sample(2, 5)
    monkeypatch.setattr(simulated, "training_scenes", lambda n, seed: SCENES[:8])
    monkeypatch.setattr(simulated, "fresh_scenes", lambda n, seed: SCENES[8:])
    monkeypatch.setattr(scores, "_BOOTSTRAP", 5)
    monkeypatch.setattr(simulated, "_N_EMPTY", 1)
    monkeypatch.setattr(simulated, "_EMPTY_SHAPE", (64, 64))
    settings = {"threshold": (1.0,), "fwhm": (3.0,), "contrast": (0.005,), "bands": (1, 4)}
    monkeypatch.setattr(simulated, "_SETTINGS", settings)
    monkeypatch.setattr(real, "_stride_one", lambda context: MorphologySegmenter.from_morpheus(
        shared_data / "morphology" / "morpheus_weights.npz", stride=20))  # fmt: skip
    monkeypatch.setattr(real, "_N_STRIDES", 1)
    monkeypatch.setattr(real, "_STRIDES", (22,))
    monkeypatch.setattr(speed, "_SIDE", 96)
    monkeypatch.setattr(speed, "_LARGE", 192)
    monkeypatch.setattr(speed, "_WINDOWS_SIDE", 42)
    pages = {"morphology-simulated": simulated.simulated, "morphology-real": real.real,
             "morphology-windows": real.strides, "morphology-speed": speed.speed}  # fmt: skip
    for name, page in pages.items():
        report = page(context)
        assert isinstance(report, Report)
        content = {"weights": {"sha256": "0" * 64}, "numbers": report.numbers}
        (tmp_path / f"{name}.json").write_text(json.dumps(content, default=lambda value: np.asarray(value).tolist()))
    content = json.loads(card.write_card(tmp_path).read_text())
    assert "accuracy of sources, simulated fields" in content["scores"]
    assert any("boosted trees" in name for name in content["baselines"])
    assert float(content["scores"]["seconds for 1024 x 1024 pixels in four bands"]) < 60
