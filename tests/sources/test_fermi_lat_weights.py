"""The shipped finder on skies that it was not trained on: probabilities and errors mean what they say."""

import astropy.units as u
import numpy as np
import pytest

import astrolearn
from astrolearn import PointSourceFinder
from astrolearn.core.weights import find_pretrained, read_card
from astrolearn.sky import match
from astrolearn.sources.fermi import LATSkySimulator

SEED = 987_000  # of no training


@pytest.fixture(scope="module")
def finder():
    return PointSourceFinder.from_pretrained("fermi-lat")


@pytest.fixture(scope="module")
def answers(finder):
    """Detections of every probability on two skies, and which of them are real."""
    catalogues, labels, pulls, n_true = [], [], [], 0
    simulator = LATSkySimulator([1.5, 5, 20] * u.GeV, nside=128, event_type="PSF3")
    own = finder.threshold
    for skymap in simulator.sample(2, SEED):
        catalogue = finder.set_params(threshold=0.05).predict(skymap)
        truth = skymap.sources[skymap.sources["significance"] >= finder.min_significance]
        n_true += len(truth)
        pixel = np.sqrt(4 * np.pi / skymap.n_pix) * u.rad
        result = match(catalogue, truth, max(0.3 * u.deg, 1.1 * pixel))
        real = np.zeros(len(catalogue), bool)
        real[result.catalogue_index] = True
        catalogues.append(catalogue["probability"])
        labels.append(real)
        sure = catalogue["probability"][result.catalogue_index] > 0.8
        pulls.append((result.separation / catalogue["coord_error"][result.catalogue_index])[sure].to_value(u.one))
    finder.set_params(threshold=own)
    return np.concatenate(catalogues), np.concatenate(labels), np.concatenate(pulls), n_true


def test_probabilities_are_frequencies(answers):
    """Within 5 % on average; on two skies, each with a diffuse emission of its own, single bins may be off by 0.1."""
    probability, real, *_ = answers
    off, number = [], []
    for low in np.arange(0.1, 1.0, 0.1):
        here = (probability >= low) & (probability < low + 0.1)
        if here.sum() > 50:
            noise = np.sqrt(0.25 / here.sum())
            off.append(abs(real[here].mean() - probability[here].mean()))
            number.append(here.sum())
            assert off[-1] < 0.1 + 2 * noise
    assert len(off) >= 6
    assert np.average(off, weights=number) < 0.05


def test_default_threshold_is_nearly_the_best(answers, finder):
    probability, real, _, n_true = answers

    def f1(threshold):
        kept = probability >= threshold
        return 2 * real[kept].sum() / (kept.sum() + n_true)

    best = max(f1(t) for t in np.arange(0.1, 0.95, 0.02))
    assert f1(finder.threshold) > best - 0.02


def test_position_errors_cover(answers):
    pulls = answers[2]
    assert len(pulls) > 500
    assert 0.63 < np.mean(pulls < 1) < 0.73


def test_strong_sources_are_found(finder):
    (skymap,) = LATSkySimulator([3, 30, 300] * u.GeV, nside=128, event_type="FRONT+BACK").sample(1, SEED + 1)
    catalogue = finder.predict(skymap)
    high = np.abs(skymap.sources["coord"].b) > 20 * u.deg
    strong = skymap.sources[high & (skymap.sources["significance"] > 10)]
    result = match(catalogue, strong, 0.5 * u.deg)
    assert result.completeness > 0.93
    found, true = catalogue[result.catalogue_index], strong[result.reference_index]
    assert np.median(found["counts"].value / true["counts"].sum(axis=1)) == pytest.approx(1, abs=0.05)


def test_card_belongs_to_the_file():
    card = read_card(find_pretrained("fermi-lat").with_suffix(".json"))
    assert card["recipe"] == "astrolearn.recipes.fermi_lat"
    assert card["scores"] and card["baselines"]
    assert "fermi-lat" in str(astrolearn.list_pretrained()["name"])
