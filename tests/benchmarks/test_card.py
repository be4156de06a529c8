import json

import pytest

from astrolearn.core.weights import find_pretrained, read_card
from benchmarks.emri import card as emri_card
from benchmarks.emri.context import NAMES, TRACKS
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


def emri_results(folder):
    cells = dict.fromkeys(("50", "30"), (0.9, 0.01))
    numbers = {
        "emri-detection": {
            "true alarms": {part: dict.fromkeys(NAMES, cells) for part in ("all", "e0 >= 0.2")},
            "false alarms": {"0.01": (0.011, 0.002)}, "example": {"statistic": 3.0},
        },
        "emri-groups": {
            "true alarms": {"3: augmented": dict.fromkeys(NAMES, (0.99, 0.01))}, "farthest source in Gpc": {"2": 0.8},
        },
        "emri-calibration": {}, "emri-curves": {},
        "emri-other-series": {"a tenth missing": [(0.1, 0.01), (0.03, 0.008), (0.012, 0.004)]},
        "emri-speed": {f"detection {TRACKS}": [0.1, 0.2], "analytic kludge": [0.02]},
    }
    for name in emri_card._PAGES:
        content = {"weights": {"sha256": "a" * 64}, "numbers": numbers[name]}
        (folder / f"{name}.json").write_text(json.dumps(content))


def test_the_detectors_card(tmp_path):
    emri_results(tmp_path)
    content = json.loads(emri_card.write_card(tmp_path).read_text())
    assert content["sha256"] == "a" * 64
    start = "true-alarm probability at false-alarm probability 1 %"
    assert content["scores"] == {
        f"{start}, SNR 50, all": "0.900 ± 0.010", f"{start}, SNR 30, all": "0.900 ± 0.010",
        f"{start}, SNR 50, e0 >= 0.2": "0.900 ± 0.010", f"{start}, SNR 30, e0 >= 0.2": "0.900 ± 0.010",
        f"{start}, 3: augmented": "0.990 ± 0.010",
        "false alarms on fresh noise where 0.01 was asked for": "0.0110 (spread 0.0020)",
        "false alarms where 0.01 was asked for, a tenth missing": "0.012 ± 0.004",
        "seconds for one series on two cores": "0.150",
    }
    assert len(content["baselines"]) == (len(NAMES) - 1) * 5
    assert any("smooth track" in name for name in content["baselines"])


@pytest.mark.skipif(
    not all((RESULTS / f"{name}.json").exists() for name in emri_card._PAGES), reason="the benchmarks have not been run"
)
def test_the_shipped_detectors_card(tmp_path):
    for name in emri_card._PAGES:
        (tmp_path / f"{name}.json").write_text((RESULTS / f"{name}.json").read_text())
    scores = json.loads(emri_card.write_card(tmp_path).read_text())["scores"]
    shipped = read_card(find_pretrained("tianqin-3month").with_suffix(".json"))
    assert shipped["scores"] == scores
