import json

import pytest

from benchmarks.emri import card as emri_card
from benchmarks.fermi import card
from benchmarks.report import RESULTS


@pytest.mark.skipif(not (RESULTS / "real-50.json").exists(), reason="the benchmarks have not been run")
def test_a_card_is_made_of_one_files_results(tmp_path):
    for name in card._PAGES:
        (tmp_path / f"{name}.json").write_text((RESULTS / f"{name}.json").read_text())
    content = json.loads(card.write_card(tmp_path).read_text())
    assert len(content["sha256"]) == 64
    scores = "\n".join(content["scores"])
    for kind in ("2-20 GeV", "above 50 GeV", "six-bin", "reliability", "coverage", "seconds"):
        assert kind in scores
    assert all("TS map" in name for name in content["baselines"])
    other = json.loads((tmp_path / "speed.json").read_text())
    other["weights"]["sha256"] = "0" * 64
    (tmp_path / "speed.json").write_text(json.dumps(other))
    with pytest.raises(ValueError, match="2 weight files"):
        card.write_card(tmp_path)


@pytest.mark.skipif(not (RESULTS / "emri-detection.json").exists(), reason="the benchmarks have not been run")
def test_the_detectors_card(tmp_path):
    for name in emri_card._PAGES:
        (tmp_path / f"{name}.json").write_text((RESULTS / f"{name}.json").read_text())
    content = json.loads(emri_card.write_card(tmp_path).read_text())
    scores = "\n".join(content["scores"])
    for kind in ("SNR 30", "e0 >= 0.2", "augmented", "false alarms", "seconds"):
        assert kind in scores
    assert any("smooth track" in name for name in content["baselines"])
    assert any("zhang2022" in name for name in content["baselines"])
