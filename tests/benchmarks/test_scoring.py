import json

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable

from astrolearn.sky import match
from benchmarks import report as reports
from benchmarks.scoring import Ranking, bootstrap, match_region


def _sky(rng, n):
    return SkyCoord(rng.uniform(0, 360, n), np.rad2deg(np.arcsin(rng.uniform(-1, 1, n))), unit="deg", frame="galactic")


@pytest.fixture
def lists():
    """Sources, and detections: half of them right with high scores, some wrong with the highest."""
    rng = np.random.default_rng(5)
    truth = _sky(rng, 400)
    offset = truth[:250].directional_offset_by(rng.uniform(0, 360, 250) * u.deg, rng.exponential(0.1, 250) * u.deg)
    wrong = _sky(rng, 200)
    lon, lat = (np.concatenate([getattr(c, name).deg for c in (offset, wrong)]) for name in ("l", "b"))
    coords = SkyCoord(lon, lat, unit="deg", frame="galactic")
    score = np.concatenate([rng.normal(2, 1, 250), rng.normal(0, 1, 200)])
    score[-3:] = 9
    return QTable({"coord": coords, "score": score}), QTable({"coord": truth})


def test_ranking_agrees_with_match(lists):
    found, truth = lists
    ignore = found["coord"][300:340]
    result = match(found, truth, 0.3 * u.deg, ignore=ignore)
    ranking = Ranking.of([result], [found["score"]])
    assert ranking.average_precision() == pytest.approx(result.average_precision("score"))
    assert ranking.completeness_at_purity(0.9) == pytest.approx(result.completeness_at_purity("score", 0.9))
    assert (ranking.right | ranking.wrong).sum() == np.sum(~result.ignored)
    f1, threshold = ranking.best_f1()
    assert ranking.f1(threshold) == f1
    cut = match(found[found["score"] >= threshold], truth, 0.3 * u.deg, ignore=ignore)
    assert f1 == pytest.approx(cut.f1, abs=0.005)


def test_pooled_maps_are_one_list(lists):
    found, truth = lists
    single = Ranking.of([match(found, truth, 0.3 * u.deg)], [found["score"]])
    double = Ranking.of([match(found, truth, 0.3 * u.deg)] * 2, [found["score"]] * 2)
    assert double.average_precision() == pytest.approx(single.average_precision(), abs=0.01)
    assert len(np.unique(double.cell)) == 2 * len(np.unique(single.cell))


def test_bootstrap_is_paired_and_seeded(lists):
    found, truth = lists
    ranking = Ranking.of([match(found, truth, 0.3 * u.deg)], [found["score"]])

    def difference(a, b, w):
        return a.average_precision(w) - b.average_precision(w)

    assert np.all(bootstrap(difference, ranking, ranking) == 0)
    values = bootstrap(lambda r, w: r.average_precision(w), ranking)
    np.testing.assert_array_equal(values, bootstrap(lambda r, w: r.average_precision(w), ranking))
    assert values.mean() == pytest.approx(ranking.average_precision(), abs=0.02)
    # of the size of a binomial error
    assert 0.3 < values.std() / np.sqrt(0.6 * 0.4 / 400) < 3


def test_region_forgives_sources_across_its_border():
    truth = QTable({"coord": SkyCoord([10, 20], [9.9, 50], unit="deg", frame="galactic")})
    found = QTable({"coord": SkyCoord([10, 20, 30], [10.1, 50, 60], unit="deg", frame="galactic")})
    result = match_region(found, truth, 0.5 * u.deg, lambda c: c.b.deg > 10)
    assert len(result.reference) == 1
    assert result.completeness == 1
    assert result.ignored.tolist() == [True, False, False]
    assert result.purity == 0.5


def test_report_writes_page_and_numbers(tmp_path, monkeypatch):
    docutils = pytest.importorskip("docutils.core")
    for name in ("_PAGES", "_FIGURES", "RESULTS"):
        monkeypatch.setattr(reports, name, tmp_path / name)
    numbers = {"value": np.float64(0.5), "bins": np.arange(2)}
    report = reports.Report("thing", "A thing", "Two skies of seeds 1 and 2.", numbers)
    report.text("Of |b| > 10 deg.")
    rows = [["ours", reports.with_error(0.5123, 0.0101)], ["peer", reports.with_error(np.nan, 0)]]
    report.table("Numbers by |b|", ["finder", "F1"], rows)
    report.write({"name": "fermi-lat-1", "sha256": "0123456789abcdef"})
    page = (tmp_path / "_PAGES" / "thing.rst").read_text()
    docutils.publish_doctree(page, settings_overrides={"halt_level": 2, "report_level": 2})
    assert "Two skies of seeds 1 and 2. Weights: fermi-lat-1, SHA-256* ``0123456789ab``" in page
    assert "0.512 ± 0.010" in page
    content = json.loads((tmp_path / "RESULTS" / "thing.json").read_text())
    assert content["numbers"] == {"value": 0.5, "bins": [0, 1]}
    assert content["weights"]["sha256"] == "0123456789abcdef"
