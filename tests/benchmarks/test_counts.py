"""The benchmarks' statistics of source counts, on errors whose answer is known, and all methods on small skies."""

import json

import numpy as np
import pytest

pytest.importorskip("sep", reason="needs sep, of the extra bench")

from astrolearn import SourceCountRegressor
from astrolearn.counts import IndependentBins, RadioSkySimulator, ReferenceCounts
from benchmarks.counts import card, choices, comparison, skies
from benchmarks.counts.context import EMU, Context
from benchmarks.report import Report


@pytest.fixture(scope="module")
def regressor():
    simulator = RadioSkySimulator(counts=IndependentBins(), n_pixels=256)
    return SourceCountRegressor(n_skies=8, n_expected=500, max_epochs=2, random_state=0).fit(simulator)


def test_root_mean_square_and_its_error():
    errors = np.random.default_rng(0).normal(0, [0.1, 0.3], (5000, 2))
    errors[:, 1] = np.nan
    (first, error), (second, _) = skies.rms_of(errors)
    assert first == pytest.approx(0.1, rel=0.03)
    assert error == pytest.approx(0.1 / 100, rel=0.03)
    assert np.isnan(second)


def test_detections_of_skies_with_the_reference_counts_give_these():
    tool, edges = EMU, 10 ** np.linspace(-7.25, -1.25, 13)
    reference = ReferenceCounts(frequency=tool.frequency)
    simulator = RadioSkySimulator(counts=reference, n_pixels=512, clustering=None, morphology="points")
    number = skies._detections(simulator, edges, 3)
    expected = reference.number(edges[:-1], edges[1:]).value * 512**2 * tool.pixel_area.to_value("sr")
    # from 0.18 to 5.6 mJy all are found but for a few blends; below a third of the noise hardly any
    found, there = number[7:10].sum(), expected[7:10].sum()
    assert found == pytest.approx(there, abs=4 * np.sqrt(there) + 0.1 * there)
    # fainter ones are not, but noise lifts some over the threshold of 125 uJy
    assert number[6] < expected[6]


def test_all_methods_answer_for_the_same_skies(regressor, monkeypatch, tmp_path):
    monkeypatch.setattr(comparison, "N_PIXELS", {EMU: 256})
    monkeypatch.setattr(comparison, "observe", lambda *args: skies.observe(*args, n_jobs=1))
    report = Report("counts-emu", "Counts", "Small skies.")
    answers = comparison._compare(report, regressor, {}, EMU, 3, 1)
    assert set(answers) == set(skies.FAMILIES)
    part = answers["talk"]
    assert part.true.shape == part.mean[skies.OURS].shape == (3, 12)
    # in the middle of the fluxes, where thousands of beams measure them, the fit knows the counts
    assert np.abs(part.error(skies.PD)[:, 6]).max() < 0.5
    assert np.isnan(part.mean[skies.SEP][:, 0]).all()
    monkeypatch.setattr(comparison, "_SMALL", 128)
    monkeypatch.setattr(comparison, "_WIDTHS", ((1.0, 2),))
    monkeypatch.setattr(comparison, "map_batches", lambda function, batches, *_, **__: map(function, batches))
    widths = comparison.coverage(Context(regressor, {}, tmp_path, tmp_path))
    for name, part in (("counts-emu", report), ("counts-coverage", widths)):
        content = {"weights": {"sha256": "0" * 64}, "numbers": part.numbers}
        (tmp_path / f"{name}.json").write_text(json.dumps(content, default=list))
    content = json.loads(card.write_card(tmp_path).read_text())
    assert "rms error of log10 n in dex, log S = -4.0" in content["scores"]
    assert any("sep" in name for name in content["baselines"])


def test_conditioning_on_the_total_finds_what_it_must():
    # one bin has nearly all of the brightness and is unknown: the total is its measurement
    log_flux = np.array([-6.0, -3.0])
    mean = np.array([[6.0, 8.0]])
    covariance = np.array([[[0.1**2, 0], [0, 0.3**2]]])
    true = np.array([[6.0, 8.4]])
    found = choices._conditioned(mean, covariance, true, log_flux)
    assert found[0, 1] == pytest.approx(8.4, abs=3 * choices._BRIGHTNESS_ERROR / np.log(10))
    assert found[0, 0] == pytest.approx(6.0, abs=0.02)


def test_regression_predicts_only_what_can_be_predicted():
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(500, 3))
    error = np.column_stack([columns[:, 0] + 0.1 * rng.normal(size=500), rng.normal(size=500)])
    left = error - choices._regressed(error, columns)
    assert left[:, 0].std() < 0.15
    assert left[:, 1].std() == pytest.approx(error[:, 1].std(), rel=0.05)
    change, spread = choices._change(error, left)[0]
    assert change < -95
    assert spread < 10
