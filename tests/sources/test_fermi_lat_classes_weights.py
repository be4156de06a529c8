"""The shipped classifier on a sky that it was not trained on: it recognises what it should, and means what it says."""

import numpy as np
import pytest

import astrolearn
from astrolearn import SourceClassifier
from astrolearn.core.weights import find_pretrained, read_card
from astrolearn.sky import stack_maps
from astrolearn.sources.classes import true_classes
from astrolearn.sources.fermi import LATSkySimulator

SEED = 987_100  # of no training
GROUPS = ("agn", "fake", "psr", "pwn_snr")


@pytest.fixture(scope="module")
def classifier():
    return SourceClassifier.from_pretrained("fermi-lat-classes")


@pytest.fixture(scope="module")
def answers(classifier):
    """A ten-year sky as classified, and what each detection is."""
    ((total, years),) = LATSkySimulator(event_type="FRONT+BACK").sample_yearly(random_state=SEED)
    table = classifier.find_and_classify(years)
    truth = true_classes(table, total.sources)
    top = np.where(np.isin(truth, ["bll", "fsrq"]), "agn", truth)
    return years, table, truth, top


def test_classes_are_recognised(answers):
    """On one sky, made of a diffuse model that the training did not have, within about three standard deviations."""
    _, table, _, top = answers
    known = np.isin(top, GROUPS)
    recall = {name: np.mean(table["class"][top == name] == name) for name in GROUPS}
    assert np.mean(table["class"][known] == top[known]) > 0.78
    assert recall["agn"] > 0.78
    assert recall["psr"] > 0.80
    assert recall["fake"] > 0.75
    assert np.mean(list(recall.values())) > 0.65


def test_sub_classes_of_active_galaxies_are_told_apart(answers):
    _, table, truth, top = answers
    agn = (top == "agn") & (table["class"] == "agn")
    assert np.mean(table["subclass"][agn] == truth[agn]) > 0.82


@pytest.mark.parametrize("name", ["agn", "bll", "fsrq", "psr", "pwn_snr", "fake"])
def test_probabilities_are_frequencies(answers, name):
    _, table, truth, top = answers
    known = np.isin(top, GROUPS)
    right = ((top if name in GROUPS else truth)[known] == name).astype(float)
    p = np.asarray(table[f"p_{name}"])[known]
    assert abs(right.mean() - p.mean()) < 0.02
    judged = 0
    for low in np.arange(0, 1, 0.2):
        here = (p >= low) & (p <= low + 0.2)
        if here.sum() >= 50:
            noise = np.sqrt(np.mean(p[here] * (1 - p[here])) / here.sum())
            assert abs(right[here].mean() - p[here].mean()) < 0.04 + 3 * noise
            judged += 1
    assert judged >= 1


def test_years_tell_more_than_their_sum(answers, classifier):
    years, table, truth, _ = answers
    whole = classifier.classify(stack_maps(years), table[table.colnames[: table.colnames.index("class")]])
    known = np.isin(truth, classifier.classes_)

    def log_loss(answer):
        p = np.stack([answer[f"p_{name}"] for name in classifier.classes_], axis=1)
        return -np.mean(np.log(p[known, np.searchsorted(classifier.classes_, truth[known])]))

    assert log_loss(table) < log_loss(whole) < 0.8


def test_card_and_listing(classifier):
    path = find_pretrained("fermi-lat-classes")
    card = read_card(path.with_suffix(".json"))
    assert card["estimator"] == "SourceClassifier"
    assert card["scores"]
    assert card["baselines"]
    assert "fermi-lat-classes-1" in astrolearn.list_pretrained()["name"]
    assert path.stat().st_size < 3e6
    assert set(classifier.classes_) == {"bll", "fsrq", "psr", "pwn_snr", "fake"}
