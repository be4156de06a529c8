"""How ``emu-944mhz`` was trained: on simulated skies of ASKAP/EMU, 25 deg2 at 944 MHz.

A network uses all that its training skies have in common. So these have counts that are free at every half dex of flux
(`IndependentBins`): what the network then says of a bin was measured in that bin, or is the prior and marked as such.
Sources have sizes and cluster. Expected histograms are drawn anew in every epoch; 300 skies of 25 deg2 say how real
histograms differ from them, and how wide the answers must be.

Run ``python -m astrolearn.recipes.emu_944mhz --out FOLDER``: half an hour on two cores.
"""

import argparse
import json
from pathlib import Path

from astrolearn.core.weights import ship_measured
from astrolearn.counts import IndependentBins, Instrument, RadioSkySimulator, ReferenceCounts
from astrolearn.counts.regressor import SourceCountRegressor

__all__ = ["N_PIXELS", "ship", "train"]

SEED = 44
N_PIXELS = 3600
"""Side of the training images: 5 deg with the pixels of 5 arcsec."""
MAX_EPOCHS = 200  # of skies that are new each time: the longer, the better


def train(out, *, instrument="emu", n_pixels=N_PIXELS, max_epochs=MAX_EPOCHS, n_jobs=None, seed=SEED, **parameters):
    """
    Train the regressor.

    Parameters
    ----------
    out : path-like
        Folder for the result, ``regressor.safetensors``, and what it was trained on, ``training.json``.
    instrument : `Instrument` or str, optional
    n_pixels, max_epochs : int, optional
        Side of the images, and length of the training.
    n_jobs : int, optional
        Processes that simulate.
    seed : int, optional
        Of everything.
    **parameters
        Of `SourceCountRegressor`, instead of its defaults.

    Returns
    -------
    SourceCountRegressor
        Fitted.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    tool = Instrument.preset(instrument) if isinstance(instrument, str) else instrument
    counts = IndependentBins(ReferenceCounts(frequency=tool.frequency))
    simulator = RadioSkySimulator(instrument=tool, counts=counts, n_pixels=n_pixels)
    regressor = SourceCountRegressor(instrument=instrument, max_epochs=max_epochs, random_state=seed, **parameters)
    regressor.set_params(n_jobs=n_jobs, verbose=1).fit(simulator).set_params(n_jobs=None, verbose=0)
    regressor.save(out / "regressor.safetensors", overwrite=True)
    made = {"seed": seed, "n_pixels": n_pixels, "max_epochs": max_epochs, "n_skies": regressor.n_skies} | parameters
    (out / "training.json").write_text(json.dumps(made) + "\n")
    return regressor


def ship(weights, number, results, git_revision):
    """
    Put a trained regressor among the weights that come with the package, with a card of what was measured on it.

    Parameters
    ----------
    weights : path-like
        ``regressor.safetensors`` of `train`, with ``training.json`` beside it.
    number : int
        The shipped file is ``emu-944mhz-<number>``; a number is never used again.
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
        SourceCountRegressor,
        weights,
        "emu-944mhz",
        number,
        results,
        recipe=__name__,
        seed=made["seed"],
        data=f"simulations only: {made['n_skies']} images of {made['n_pixels']} x {made['n_pixels']} pixels and "
        "expected histograms of skies with independent counts around S3-SEX and Massardi et al. (2010)",
        git_revision=git_revision,
        trained_on="simulated ASKAP/EMU images: 944 MHz, 15 arcsec, 5 arcsec pixels, 20 to 31 uJy/beam, up to 25 deg2",
    )


def main():
    """Command line of the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="folder for the fitted regressor")
    parser.add_argument("--jobs", type=int, default=2, help="processes that simulate skies")
    arguments = parser.parse_args()
    train(arguments.out, n_jobs=arguments.jobs)


if __name__ == "__main__":
    main()
