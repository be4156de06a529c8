"""The benchmarks of redshifts: what they measure, on numbers whose answer is known."""

import json

import astropy.units as u
import numpy as np
import pytest

from astrolearn.core.tables import SampleTable
from benchmarks.photoz import card, choices, data, images, peers, scores
from benchmarks.photoz.tables import OURS


def normal_densities(z, width, rng):
    """Exact densities: normal ones around points that are so far from the truth."""
    grid = np.linspace(-0.2, 0.6, 801)
    points = z + width * rng.normal(size=len(z))
    return points, (np.exp(-0.5 * ((grid - points[:, None]) / width) ** 2), grid)


def test_numbers_of_exact_densities():
    rng = np.random.default_rng(0)
    z = rng.uniform(0.1, 0.3, 4000)
    points, densities = normal_densities(z, 0.02, rng)
    numbers = scores.measure(z, points, densities)
    assert numbers["sigma_MAD"][0] == pytest.approx(np.median(0.02 / (1 + z)), rel=0.05)
    assert numbers["sigma_MAD"][1] == pytest.approx(1.17 * numbers["sigma_MAD"][0] / np.sqrt(4000), rel=0.3)
    # of a normal density and its own truth: sigma / sqrt(pi)
    assert numbers["CRPS"][0] == pytest.approx(0.02 / np.sqrt(np.pi), rel=0.03)
    assert numbers["KS"][0] < 1.63 / np.sqrt(4000)
    assert numbers["coverage"][0] == pytest.approx(0.68, abs=4 * numbers["coverage"][1])
    cells = scores.row("exact", numbers, 3.2)
    assert len(cells) == len(scores.header(0.05))
    assert cells[-1] == "3"
    assert "-" in scores.row("points", scores.measure(z, points), 1)


def test_difference_on_the_same_galaxies():
    rng = np.random.default_rng(1)
    z = rng.uniform(0.1, 0.3, 2000)
    first = z + 0.02 * rng.normal(size=2000)
    change, error = scores.difference(z, first, first + 0.002 * rng.normal(size=2000))
    assert abs(change) < 4 * error + 2e-4
    assert error < 4e-4
    change, error = scores.difference(z, first, z + 0.04 * rng.normal(size=2000))
    assert change > 10 * error


def table(n=90):
    rng = np.random.default_rng(2)
    z = rng.uniform(0.05, 0.3, n)
    brightness = rng.normal(17, 0.5, n)
    columns = SampleTable({"g": (brightness + 4 * z) * u.mag, "r": (brightness + z) * u.mag})
    columns["g_err"] = rng.uniform(0.01, 0.02, n) * u.mag
    columns["r_err"] = np.where(np.arange(n) == 0, 99.0, rng.uniform(0.01, 0.02, n)) * u.mag
    columns["r"][0] = 99 * u.mag
    return columns, z * u.dimensionless_unscaled


@pytest.mark.parametrize("name", ["linear regression", "k nearest neighbours"])
def test_peers_on_a_table(name):
    columns, z = table(300)
    matrix = peers.features(columns)
    assert matrix.shape == (300, 2 + 1 + 2)
    assert matrix[0, 1] == 30
    assert matrix[0, 4] == 1
    points, densities = peers.predict(name, columns[:200], z[:200], columns[200:])
    assert densities is None
    assert np.median(np.abs(points - z[200:].value)) < 0.02


@pytest.mark.parametrize("name", list(peers._RAIL))
def test_peers_of_rail(name):
    pytest.importorskip("rail.estimation.algos.flexzboost", reason="needs the extra bench")
    columns, z = table(700)
    columns["g"] += 0.02 * np.random.default_rng(3).normal(size=700) * u.mag  # of exact relations GPz has no inverse
    points, (densities, grid) = peers.predict(name, columns[:600], z[:600], columns[600:])
    assert densities.shape == (100, len(grid))
    assert np.median(np.abs(points - z[600:].value)) < 0.03


def test_light_is_that_of_the_training_images():
    rng = np.random.default_rng(0)
    training, test = rng.normal(size=(20, 2, 16, 16)), 5 * rng.normal(size=(3, 2, 16, 16))
    light = images._light(test, training)
    assert light.shape == (3, 5)  # two channels, the total in two circles, and a colour
    np.testing.assert_allclose(light[0], images._light(test[:1], training)[0], rtol=1e-5)
    np.testing.assert_allclose(light[:, 4], light[:, 1] - light[:, 0], atol=1e-6)
    pictures = rng.integers(0, 255, (20, 16, 16, 2)).astype(np.uint8)
    light = images._light(pictures[:3], pictures)
    assert light.shape == (3, 15)
    np.testing.assert_allclose(light[:, 10:], light[:, 1:10:2] - light[:, :10:2], atol=1e-6)


def test_densities_of_bins():
    rng = np.random.default_rng(1)
    probability = rng.dirichlet(np.ones(12), size=5)
    binned = choices.Binned(probability, (0.0, 0.6))
    grid = np.linspace(-0.1, 0.7, 8001)
    pdf = binned.pdf(grid)
    mean, std = binned.moments()
    np.testing.assert_allclose(np.trapezoid(pdf, grid, axis=1), 1, atol=2e-3)
    np.testing.assert_allclose(np.trapezoid(pdf * grid, grid, axis=1), mean, rtol=2e-3)
    np.testing.assert_allclose(np.trapezoid(pdf * (grid - mean[:, None]) ** 2, grid, axis=1), std**2, rtol=5e-3)
    np.testing.assert_allclose(binned.cdf(binned.ppf(0.3)), 0.3)
    assert (pdf.argmax(axis=1) == np.searchsorted(grid, binned.edges[probability.argmax(axis=1)])).all()


def test_bins_learn_a_redshift():
    columns, z = table(300)
    binned = choices.BinnedRegressor(random_state=0, n_networks=3, n_components=5).fit(columns[1:250], z[1:250])
    assert np.median(np.abs(binned.predict(columns[250:]) - z[250:])) < 0.04
    lower, upper = binned.predict_interval(columns[250:], 0.9)
    assert 0.7 < ((lower <= z[250:]) & (z[250:] <= upper)).mean() <= 1


def test_gpz_needs_errors():
    columns, z = table()
    assert peers.predict("GPz (RAIL)", columns["g", "r"], z, columns["g", "r"]) == (None, None)


def test_halves_share_no_galaxy():
    columns, z = table()
    doubled = columns[np.r_[np.arange(90), 5]]
    with pytest.warns(match="2 of 91 rows"):
        first, first_z, second, _ = data._halves(doubled, z[np.r_[np.arange(90), 5]])
    assert len(first) == 44
    assert len(second) == 45
    assert not set(first["g"].value) & set(second["g"].value)
    detected = first["r"].value < 90
    np.testing.assert_allclose((first["g"] - first["r"]).value[detected], 3 * first_z.value[detected], atol=1e-12)


def test_card(tmp_path):
    cell = dict.fromkeys(("sigma_MAD", "bias", "outliers", "R2"), (0.012, 0.001))
    numbers = {
        "photoz-sdss": {
            OURS: cell | {"CRPS": (0.008, 0.001), "KS": (0.02, np.nan), "coverage": (0.68, 0.01), "seconds": 5},
            "random forest": cell | {"seconds": 3},
        },
        "photoz-speed": {"table, predict": [10.0, 20.0], "table, predict_pdf": [5.0, 5.0]},
    }
    for name in card._PAGES:
        content = {"weights": {"sha256": "a" * 64}, "numbers": numbers[name]}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    content = json.loads(card.write_card(tmp_path).read_text())
    assert content["scores"]["sigma_MAD"] == "0.01200 ± 0.00100"
    assert content["scores"]["KS distance of the PIT"] == "0.020"
    assert content["scores"]["galaxies per second (table)"] == "15"
    assert content["baselines"]["sigma_MAD (random forest)"] == "0.01200 ± 0.00100"
