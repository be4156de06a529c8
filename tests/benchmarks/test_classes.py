"""Scores of classes on answers that are known, the choice of weights, and all pages on made-up detections."""

import json

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table

from astrolearn import SourceClassifier
from astrolearn.sources.classes.detections import Detections, n_features
from benchmarks.classes import card, choices, robustness, simulated
from benchmarks.classes.context import Context
from benchmarks.classes.data import UNMATCHED, real_labels, yearly_50
from benchmarks.classes.decision import GOALS, choose_threshold, choose_weights, margin
from benchmarks.classes.peers import boosted_trees
from benchmarks.classes.scores import (
    LEAVES,
    ROWS,
    TOP,
    Sample,
    Verdicts,
    calibration,
    decide,
    difference,
    measure,
    row_shares,
)
from benchmarks.classes.skies import Sky, class_of_faint
from benchmarks.fermi.data import map_50
from benchmarks.report import Report

CLASSES = sorted(LEAVES)


def verdicts(pairs):
    true, found = (np.array(names) for names in zip(*pairs, strict=True))
    return Verdicts(true, found, np.arange(len(true)) % 7)


def scores(pairs):
    return verdicts(pairs).named_scores()


def test_scores_of_a_table_made_by_hand():
    pairs = ([("bll", "bll")] * 5 + [("bll", "fsrq")] * 1 + [("fsrq", "fsrq")] * 2 + [("fsrq", "psr")] * 2
             + [("psr", "psr")] * 3 + [("psr", "bll")] + [("pwn_snr", "fake")] + [("pwn_snr", "pwn_snr")]
             + [("fake", "fake")] * 4 + [("unk", "psr")] * 50 + [("faint", "fake")] * 50)  # fmt: skip
    result = scores(pairs)
    assert result["overall"] == pytest.approx(16 / 20)
    assert result["recall agn"] == pytest.approx(8 / 10)
    assert result["precision agn"] == pytest.approx(8 / 9)
    assert (result["recall psr"], result["precision psr"]) == pytest.approx((3 / 4, 3 / 5))
    assert (result["recall fake"], result["precision fake"]) == pytest.approx((1, 4 / 5))
    assert result["balanced"] == pytest.approx((0.8 + 0.75 + 0.5 + 1) / 4)
    assert result["bll against fsrq"] == pytest.approx(7 / 8)
    table = verdicts(pairs).table()
    assert table[ROWS.index("unk"), ROWS.index("psr")] == 50
    assert table[ROWS.index("fsrq"), ROWS.index("psr")] == 2
    assert table.sum() == len(pairs)


def test_an_active_galaxy_of_unknown_kind_is_right_as_either():
    result = scores([("agn", "bll"), ("agn", "fsrq"), ("bll", "agn"), ("fake", "fake")])
    assert result["recall agn"] == result["overall"] == 1
    assert np.isnan(result["bll against fsrq"])
    assert np.isnan(result["recall psr"])
    assert result["balanced"] == 1


def test_a_class_that_is_none_is_refused():
    with pytest.raises(ValueError, match="blazar"):
        scores([("blazar", "bll")])


def test_errors_and_differences():
    rng = np.random.default_rng(0)
    n = 1000
    true = rng.choice(["bll", "fake"], n)
    right = rng.random(n) < 0.8
    found = np.where(right, true, np.where(true == "bll", "fake", "bll"))
    one = Verdicts(true, found, np.arange(n))
    value, error = measure(one)["overall"]
    assert value == right.mean()
    assert error == pytest.approx(np.sqrt(0.8 * 0.2 / n), rel=0.15)  # binomial
    change, error = difference(one, one)["overall"]
    assert (change, error) == (0, 0)
    assert difference(one, Verdicts(true, true, one.cell))["overall"][0] == pytest.approx(1 - value)
    share, spread = row_shares(one)
    place = ROWS.index("bll"), ROWS.index("bll")
    assert share[place] == pytest.approx(right[true == "bll"].mean())
    assert spread[place] == pytest.approx(np.sqrt(0.8 * 0.2 / (true == "bll").sum()), rel=0.15)


# -- weights ----------------------------------------------------------------------------------------------------------
def made_up(n=3000, seed=0, classes=CLASSES, sharpness=1.5):
    """Calibrated probabilities of classes with the shares of the sky, and labels."""
    rng = np.random.default_rng(seed)
    share = {"bll": 0.55, "fsrq": 0.2, "psr": 0.05, "pwn_snr": 0.03, "fake": 0.17}
    prior = np.array([share[name] for name in classes])
    true = rng.choice(len(classes), n, p=prior)
    # Gaussian evidence of unit width around each class's own corner: posterior probabilities are exact
    x = sharpness * np.eye(len(classes))[true] + rng.standard_normal((n, len(classes)))
    log = np.log(prior) + sharpness * x
    p = np.exp(log - log.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True), np.array(classes)[true]


def margin_of(p, labels, weights, classes=CLASSES):
    result = Verdicts(labels, decide(p, classes, weights), np.zeros(len(labels), int)).named_scores()
    return min(result[name if name == "overall" else f"recall {name}"] - goal for name, goal in GOALS.items())


def test_weights_reach_the_largest_margin():
    p, labels = made_up(sharpness=2.2)
    weights = choose_weights(p, labels)
    best = margin_of(p, labels, weights)
    assert weights["agn"] == 1
    assert weights["psr"] > 2  # they are few, and the goal is high
    rng = np.random.default_rng(1)
    others = [{"agn": 1.0} | dict(zip(TOP[1:], np.exp(rng.uniform(-2, 4, 3)), strict=True)) for _ in range(60)]
    assert best > margin_of(p, labels, None) + 0.05
    assert best > max(margin_of(p, labels, other) for other in others) - 0.006
    # the same on other detections of the same kind
    assert margin_of(*made_up(seed=5, sharpness=2.2), weights) > best - 0.05


def test_weights_do_not_see_what_is_no_class():
    p, labels = made_up(2000)
    expected = choose_weights(p, labels)
    more = np.concatenate([p, np.full((500, len(CLASSES)), 0.2)])
    unknown = np.repeat(["unk", "faint"], 250)
    assert choose_weights(more, np.concatenate([labels, unknown])) == expected


def test_margin():
    table = np.diag([80, 10, 5, 20])
    table[0, 1] = 20
    assert margin(table) == pytest.approx(min(115 / 135 - 0.8, 0.8 - 0.8, 0.15, 0.2))


def test_threshold_between_fakes_and_sources():
    p, labels = np.array([0.5, 0.55, 0.6, 0.9, 0.95, 0.99]), np.array(["fake"] * 3 + ["bll", "fsrq", "bll"])
    assert 0.6 < choose_threshold(p, labels) <= 0.9


# -- detections -------------------------------------------------------------------------------------------------------
def made_up_sky(seed, n=260):
    """Detections whose class is in their features, and sources of known class."""
    rng = np.random.default_rng(seed)
    names = ("bll", "fsrq", "psr", "pwn_snr", "fake", "unk", "faint")
    labels = rng.choice(names, n, p=[0.4, 0.15, 0.1, 0.1, 0.15, 0.05, 0.05])
    features = rng.standard_normal((n, n_features(3))).astype(np.float32)
    for number, name in enumerate(names[:5]):
        features[labels == name, number] += 3
    seen = Detections(
        rng.poisson(1.0, (n, 4, 3, 7, 7)).astype(np.uint16), np.ones((n, 3, 7, 7), np.float32), features,
        [1, 3, 10, 30] * u.GeV, 0.004, np.full(3, 1e11),
    )  # fmt: skip
    lon, lat = rng.uniform(0, 360, n), np.rad2deg(np.arcsin(rng.uniform(-1, 1, n)))
    catalogue = Table({"l": lon, "b": lat, "probability": rng.uniform(0.5, 1, n),
                       "significance": rng.exponential(8, n) + 3})  # fmt: skip
    return Sky(seen, labels, np.where(labels == "faint", "psr", labels), catalogue, catalogue[:0])


@pytest.fixture(scope="module")
def made():
    training = [(sky.detections, None, sky.labels) for sky in (made_up_sky(seed) for seed in range(4))]
    classifier = SourceClassifier(max_epochs=6, width=2, batch_size=128, random_state=0, class_weight=None)
    return training, classifier.fit(training)


def test_three_conventions(made):
    _, classifier = made
    sky = made_up_sky(9)
    sample = Sample.of([sky], classifier)
    faint = sky.labels == "faint"
    assert set(sample.truth("fake")[faint]) == {"fake"}
    assert set(sample.truth("real")[faint]) == {"psr"}
    for convention in ("fake", "real"):
        np.testing.assert_array_equal(sample.truth(convention)[~faint], sky.labels[~faint])
    tables = {name: sample.verdicts(convention=name).table() for name in ("left out", "fake", "real")}
    lost = tables["left out"][ROWS.index("faint")]
    for name, row in (("fake", "fake"), ("real", "psr")):
        np.testing.assert_array_equal(tables[name][ROWS.index(row)], tables["left out"][ROWS.index(row)] + lost)
        assert tables[name][ROWS.index("faint")].sum() == 0


def test_class_of_a_faint_source():
    found = QTable({"coord": SkyCoord([10, 20, 30.0], [0, 0, 0.0], unit="deg", frame="galactic")})
    sources = QTable({"coord": SkyCoord([10, 20.1, 20.2, 30.1], [0, 0, 0, 0.0], unit="deg", frame="galactic"),
                      "class": ["bll", "spp", "fsrq", "psr"], "significance": [5.0, 1.0, 9.0, 0.1]})  # fmt: skip
    out = class_of_faint(found, np.array(["bll", "faint", "fake"]), sources)
    assert out.tolist() == ["bll", "pwn_snr", "fake"]


def test_calibration_of_exact_and_of_boasting_probabilities():
    p, labels = made_up(8000)

    def sample(probability):
        n = len(labels)
        nothing = np.zeros(n)
        return Sample(labels, labels, probability, np.arange(n) % 500, nothing, nothing, nothing, nothing, CLASSES)

    exact = calibration(sample(p), "psr")
    assert exact["distance"] < 0.01
    assert exact["n"].sum() == len(labels)
    boasting = p**3 / (p**3).sum(axis=1, keepdims=True)
    assert calibration(sample(boasting), "agn")["distance"] > 3 * calibration(sample(p), "agn")["distance"] + 0.02
    # of a constant, the distance is known
    constant = np.full(p.shape, 0.2)
    assert calibration(sample(constant), "fake")["distance"] == pytest.approx(abs((labels == "fake").mean() - 0.2))


def test_unknown_sources_count_as_not_fake():
    p = np.full((100, len(CLASSES)), 0.2)
    labels = np.repeat(["fake", "unk", "faint"], [20, 60, 20])
    nothing = np.zeros(100)
    sample = Sample(labels, labels, p, np.arange(100) % 9, nothing, nothing, nothing, nothing, CLASSES)
    result = calibration(sample, "fake")
    assert result["n"].sum() == 80
    assert result["true"][2] == 0.25


def test_inputs_that_are_taken_away(made):
    _, classifier = made
    seen = made_up_sky(3).detections
    total = robustness.one_map(seen)
    assert total.counts.shape == (len(seen), 1, 3, 7, 7)
    assert total.counts.sum() == seen.counts.sum()
    np.testing.assert_array_equal(total.features[:, -2:], seen.features[:, -2:])
    np.testing.assert_array_equal(robustness.without_probability(seen).features[:, :-2], seen.features[:, :-2])
    assert not robustness.without_probability(seen).features[:, -2:].any()
    for changed in (total, robustness.without_probability(seen)):
        assert np.abs(classifier.predict_proba(changed, None) - classifier.predict_proba(seen, None)).max() > 1e-4


def test_trees_are_tuned_and_kept(made, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.classes.peers._N_ITERATIONS", 25)
    monkeypatch.setattr("benchmarks.classes.peers._N_LEAVES", (4, 8))
    training, _ = made
    x, y = (np.concatenate(parts) for parts in zip(*((s.features, y) for s, _, y in training), strict=True))
    sky = made_up_sky(8)
    tuning = sky.detections.features, sky.labels
    trees, settings = boosted_trees((x, y), tuning, tmp_path, every=1)
    assert set(trees.classes_) == set(LEAVES)
    known = np.isin(sky.labels, LEAVES)
    assert (trees.predict(sky.detections.features[known]) == sky.labels[known]).mean() > 0.7
    monkeypatch.setattr("benchmarks.classes.peers._fit", None)
    assert boosted_trees((x, y), tuning, tmp_path, every=1)[1] == settings


# -- pages ------------------------------------------------------------------------------------------------------------
@pytest.fixture
def context(made, tmp_path, monkeypatch, shared_data):
    training, classifier = made

    def skies(kind, n, context, seed=0):
        return (made_up_sky(seed + number) for number in range(n))

    for module in (simulated, choices, robustness):
        monkeypatch.setattr(module, "skies", skies)
    monkeypatch.setattr("benchmarks.scoring._N_BOOTSTRAP", 5)
    monkeypatch.setattr("benchmarks.classes.peers._N_ITERATIONS", 25)
    monkeypatch.setattr(choices, "JOBS", 1)
    monkeypatch.setattr(choices, "_EPOCHS", 4)
    monkeypatch.setattr(Context, "training_skies", lambda self, n=None: iter(training))
    return Context(classifier, {"name": "small", "sha256": "0" * 64}, shared_data, tmp_path, tmp_path, 2)


def test_pages_and_card(context, tmp_path):
    pages = {"classes-simulated": simulated.simulated, "classes-choices": choices.choices,
             "classes-diffuse": robustness.diffuse, "classes-elsewhere": robustness.elsewhere}  # fmt: skip
    reports = {}
    for name, page in pages.items():
        report = reports[name] = page(context)
        assert isinstance(report, Report)
        write(tmp_path, name, report.numbers)
    write(tmp_path, "classes-speed", {"a sky": {"all": 1.0, "peak_gb": 2.0}})
    content = json.loads(card.write_card(tmp_path).read_text())
    assert any("right sub-class" in name for name in content["scores"])
    assert any("boosted trees" in name for name in content["baselines"])
    assert not any("loss" in name and "nan" in value for name, value in content["scores"].items())
    simulated_numbers = reports["classes-simulated"].numbers
    assert simulated_numbers["faint: left out"][simulated.OURS]["overall"][0] > 0.7
    methods = {simulated.RULE, simulated.PROBABLE, simulated.TREES, simulated.TREES_PROBABLE, simulated.FINDER}
    assert set(simulated_numbers["better by"]) == methods
    # equal skies, equal scores
    assert reports["classes-diffuse"].numbers["analytic"]["loss in points"]["overall"] == (0, 0)
    assert reports["classes-choices"].numbers["inputs='features'"]["change"]["log loss"][1] > 0
    write(tmp_path, "classes-speed", {}, "1" * 64)
    with pytest.raises(ValueError, match="2 weight files"):
        card.write_card(tmp_path)


def write(folder, name, numbers, sha256="0" * 64):
    content = {"weights": {"sha256": sha256}, "numbers": numbers}
    (folder / f"{name}.json").write_text(json.dumps(content, default=lambda value: np.asarray(value).tolist()))


# -- real maps --------------------------------------------------------------------------------------------------------
def test_years_add_up_to_the_whole(shared_data):
    years = yearly_50(shared_data)
    total = map_50(shared_data, groups=((0,), (1,), (2,)))
    assert len(years) == 7
    np.testing.assert_array_equal(sum(year.data for year in years), total.data)
    np.testing.assert_allclose(sum(year.exposure.value for year in years), total.exposure.value, rtol=1e-5)
    photons = np.array([year.data.sum() for year in years])
    assert photons.min() > 0.85 * photons.mean()  # equal times, as the LAT surveys the sky


def test_labels_of_the_real_sky(shared_data):
    table = Table.read(shared_data / "gamma" / "4fgl_dr2_north.fits.gz", hdu=1)
    names = np.char.strip(np.asarray(table["CLASS1"]).astype(str))
    rows = [int(np.flatnonzero(names == name)[0]) for name in ("BLL", "psr", "glc", "bcu", "spp", "")]
    coord = SkyCoord(table["GLON"][rows], table["GLAT"][rows], unit="deg", frame="galactic")
    nowhere = SkyCoord([0.0], [-80.0], unit="deg", frame="galactic")
    both = SkyCoord(np.append(coord.l, nowhere.l), np.append(coord.b, nowhere.b), frame="galactic")
    labels, matches = real_labels(QTable({"coord": both}), shared_data, 0.1 * u.deg)
    assert labels.tolist() == ["bll", "psr", "other", "agn", "pwn_snr", "unk", UNMATCHED]
    assert matches.matched.sum() == 6
