"""The recipe runs from a file of galaxies to a shipped file."""

import hashlib
import json

import numpy as np
import pytest
from astropy.cosmology import units as cu

from astrolearn import PhotoZRegressor
from astrolearn.core import weights
from astrolearn.recipes import sdss_mgs_ugriz

SMALL = {"n_networks": 2, "max_epochs": 2}


@pytest.fixture
def data(tmp_path):
    """A file as those of MLZ: redshift, five magnitudes, four colours, errors of all of them."""
    rng = np.random.default_rng(0)
    z = rng.uniform(0.02, 0.25, 80)
    magnitudes = 17 + z[:, None] * [5, 4, 2, 1, 0] + 0.01 * rng.normal(size=(80, 5))
    errors = rng.uniform(0.01, 0.1, (80, 9))
    table = np.column_stack([z, magnitudes, magnitudes[:, :-1] - magnitudes[:, 1:], errors])
    np.savetxt(tmp_path / "sdss_mgs_train.txt", table, header="zs u g r i z ...")
    return tmp_path, table


def test_galaxies_of_mlz(data):
    folder, rows = data
    table, redshift = sdss_mgs_ugriz.read_galaxies(folder / "sdss_mgs_train.txt")
    assert table.colnames == [*"ugriz", "u_err", "g_err", "r_err", "i_err", "z_err"]
    assert redshift.unit == cu.redshift
    np.testing.assert_allclose(redshift.value, rows[:, 0])
    np.testing.assert_allclose(table["z"].value, rows[:, 5])
    np.testing.assert_allclose(table["u_err"].value, rows[:, 10])


def test_training_and_shipping(data, tmp_path, monkeypatch):
    out = tmp_path / "out"
    trained = sdss_mgs_ugriz.train(data[0], out, **SMALL)
    assert {path.name for path in out.iterdir()} == {"regressor.safetensors", "training.json"}
    assert json.loads((out / "training.json").read_text()) == {"seed": sdss_mgs_ugriz.SEED, "n_galaxies": 80} | SMALL
    table, _ = sdss_mgs_ugriz.read_galaxies(data[0] / "sdss_mgs_train.txt")
    path = out / "regressor.safetensors"
    np.testing.assert_array_equal(PhotoZRegressor.load(path).predict(table), trained.predict(table))

    def ship_here(*args, **card):
        return weights.ship_measured(*args, folder=tmp_path, **card)

    monkeypatch.setattr(sdss_mgs_ugriz, "ship_measured", ship_here)
    results = tmp_path / "results.json"
    measured = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "scores": {"sigma_MAD": 0.5}, "baselines": {}}
    results.write_text(json.dumps(measured | {"sha256": "0" * 64}))
    with pytest.raises(ValueError, match="was not measured on"):
        sdss_mgs_ugriz.ship(path, 1, results, "abc")
    results.write_text(json.dumps(measured))
    card = weights.read_card(sdss_mgs_ugriz.ship(path, 1, results, "abc").with_suffix(".json"))
    assert card["seed"] == sdss_mgs_ugriz.SEED
    assert "80 galaxies" in card["data"]
