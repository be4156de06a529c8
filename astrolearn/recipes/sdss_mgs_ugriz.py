"""How ``sdss-mgs-ugriz`` was trained: on 5,000 galaxies of the SDSS Main Galaxy Sample.

Magnitudes u, g, r, i and z with their errors and spectroscopic redshifts, from the examples of MLZ (Carrasco Kind &
Brunner 2013). The hyper-parameters are the defaults, which were chosen by cross-validation within these galaxies.

Run ``python -m astrolearn.recipes.sdss_mgs_ugriz --data FOLDER --out FOLDER``: ten seconds.
"""

import argparse
import json
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.cosmology import units as cu

from astrolearn.core.tables import SampleTable
from astrolearn.core.weights import ship_measured
from astrolearn.photoz.regressor import PhotoZRegressor

__all__ = ["read_galaxies", "ship", "train"]

SEED = 40
BANDS = "ugriz"


def read_galaxies(path):
    """
    Read a file of the SDSS examples of MLZ.

    Parameters
    ----------
    path : path-like
        ``sdss_mgs_train.txt`` or ``sdss_mgs_validation.txt``: redshift, magnitudes, colours, errors.

    Returns
    -------
    table : SampleTable
        ``u`` to ``z`` and ``u_err`` to ``z_err``, in mag.
    redshift : `~astropy.units.Quantity`, (n,)
    """
    columns = np.loadtxt(path)
    magnitudes, errors = columns[:, 1:6], columns[:, 10:15]
    table = SampleTable({band: magnitudes[:, i] * u.mag for i, band in enumerate(BANDS)})
    for i, band in enumerate(BANDS):
        table[f"{band}_err"] = errors[:, i] * u.mag
    return table, columns[:, 0] * cu.redshift


def train(data, out, *, seed=SEED, **parameters):
    """
    Train the regressor.

    Parameters
    ----------
    data : path-like
        Folder with ``sdss_mgs_train.txt``.
    out : path-like
        Folder for the result, ``regressor.safetensors``.
    seed : int, optional
        Of everything.
    **parameters
        Of `PhotoZRegressor`, instead of its defaults.

    Returns
    -------
    PhotoZRegressor
        Fitted.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    table, redshift = read_galaxies(Path(data) / "sdss_mgs_train.txt")
    regressor = PhotoZRegressor(random_state=seed, verbose=1, **parameters).fit(table, redshift).set_params(verbose=0)
    regressor.save(out / "regressor.safetensors", overwrite=True)
    (out / "training.json").write_text(json.dumps({"seed": seed, "n_galaxies": len(table)} | parameters) + "\n")
    return regressor


def ship(weights, number, results, git_revision):
    """
    Put a trained regressor among the weights that come with the package, with a card of what was measured on it.

    Parameters
    ----------
    weights : path-like
        ``regressor.safetensors`` of `train`, with ``training.json`` beside it.
    number : int
        The shipped file is ``sdss-mgs-ugriz-<number>``; a number is never used again.
    results : path-like
        JSON file with the ``sha256`` of the file that was measured, ``scores`` and ``baselines``.
    git_revision : str
        Of the code that trained it.

    Returns
    -------
    `pathlib.Path`
        The shipped file.

    Raises
    ------
    ValueError
        If the results were measured on another file.
    """
    made = json.loads(Path(weights).with_name("training.json").read_text())
    return ship_measured(
        PhotoZRegressor,
        weights,
        "sdss-mgs-ugriz",
        number,
        results,
        recipe=__name__,
        seed=made["seed"],
        data=f"{made['n_galaxies']} galaxies of the SDSS Main Galaxy Sample with spectroscopic redshifts below 0.3, "
        "from the examples of MLZ",
        git_revision=git_revision,
        trained_on="SDSS model magnitudes u, g, r, i, z with errors",
    )


def main():
    """Command line of the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder with sdss_mgs_train.txt")
    parser.add_argument("--out", required=True, help="folder for the fitted regressor")
    arguments = parser.parse_args()
    train(arguments.data, arguments.out)


if __name__ == "__main__":
    main()
