"""How ``tianqin-3month`` was trained: on simulated signals in Gaussian noise.

Ten thousand analytic-kludge signals of the wide prior of `EMRIPopulation`, three months at 30 s, with signal-to-noise
ratios from 12 to 50, where detection goes from hopeless to easy. Eight thousand are each put into two draws of noise,
beside as many series without a signal, and the others calibrate the probability. The false-alarm probabilities come
from 10,000 further series of noise.

Run ``python -m astrolearn.recipes.tianqin_3month --out FOLDER``: about 90 minutes on two cores, 10.5 GB of the
temporary folder and 5 GB of memory.

What a series looks like to the network may change a little without need of another network; its scores then mean
something else. `recalibrate` (``--recalibrate WEIGHTS``, 20 minutes) finds the false-alarm and signal probabilities
anew. That was done for ``tianqin-3month-1`` when its noise began to be levelled from 0.1 mHz on.
"""

import argparse
import json
from itertools import islice
from pathlib import Path

import numpy as np

from astrolearn.core.seeding import make_rng
from astrolearn.core.weights import ship_measured
from astrolearn.emri.detector import _HELD_OUT, EMRIDetector, _noise
from astrolearn.emri.population import EMRIPopulation

__all__ = ["recalibrate", "ship", "train", "training_population"]

SEED = 30
SNR = (12, 50)
PARAMETERS = {"n_signals": 10000, "n_draws": 2, "n_noise": 10000, "max_epochs": 12}


def training_population():
    """The population of the training signals."""
    return EMRIPopulation(snr=SNR)


def train(out, *, seed=SEED, n_jobs=None, **parameters):
    """
    Train the detector.

    Parameters
    ----------
    out : path-like
        Folder for the result ``detector.safetensors`` and what it was trained with, ``training.json``.
    seed : int, optional
        Of everything.
    n_jobs : int or None, optional
        Processes that simulate and prepare series.
    **parameters
        Of `EMRIDetector`, instead of those of the recipe.

    Returns
    -------
    EMRIDetector
        Fitted.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    parameters = PARAMETERS | parameters
    detector = EMRIDetector(random_state=seed, verbose=1, n_jobs=n_jobs, **parameters)
    detector.fit(training_population()).set_params(verbose=0, n_jobs=None)
    detector.save(out / "detector.safetensors", overwrite=True)
    made = {"seed": seed, "snr": training_population().snr} | parameters
    (out / "training.json").write_text(json.dumps(made) + "\n")
    return detector


def recalibrate(weights, out, *, n_jobs=None):
    """
    Find the false-alarm and signal probabilities of a trained detector anew, without training it.

    Parameters
    ----------
    weights : path-like
        ``detector.safetensors`` of `train`, with ``training.json`` beside it, whose held-out signals are made again.
    out : path-like
        Folder for the result, of the same names.
    n_jobs : int or None, optional
        Processes that score series.

    Returns
    -------
    EMRIDetector
    """
    out, made = Path(out), json.loads(Path(weights).with_name("training.json").read_text())
    out.mkdir(parents=True, exist_ok=True)
    detector = EMRIDetector.load(weights).set_params(n_jobs=n_jobs)
    n, rng = int(_HELD_OUT * made["n_signals"]), make_rng(made["seed"] + 1)
    signals = islice(_signals(made["n_signals"], made["seed"]), n)
    detector._finish((signal + _noise(rng, signal.shape[1]) for signal in signals), n, rng)
    detector.set_params(n_jobs=None).save(out / "detector.safetensors", overwrite=True)
    (out / "training.json").write_text(json.dumps(made) + "\n")
    return detector


def _signals(n, seed):
    """Those of the training as they were kept; the first of them were not trained on."""
    for batch in training_population().stream(n, make_rng(seed), n_jobs=1):
        yield from np.asarray(batch["signal"]).astype(np.float16).astype(np.float32)


def ship(weights, number, results, git_revision):
    """
    Put a trained detector among the weights that come with the package, with a card of what was measured on it.

    Parameters
    ----------
    weights : path-like
        ``detector.safetensors`` of `train`, with ``training.json`` beside it.
    number : int
        The shipped file is ``tianqin-3month-<number>``; a number is never used again.
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
        EMRIDetector,
        weights,
        "tianqin-3month",
        number,
        results,
        recipe=__name__,
        seed=made["seed"],
        data=f"simulations only: {made['n_signals']} analytic-kludge signals of SNR {made['snr'][0]:g} to "
        f"{made['snr'][1]:g} in Gaussian noise; four fifths of them to train on, in {made['n_draws']} draws each, the "
        "others to calibrate",
        git_revision=git_revision,
        trained_on="simulated three-month series of TianQin every 30 s, whitened",
    )


def main():
    """Command line of the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="folder for the fitted detector")
    parser.add_argument("--jobs", type=int, default=2, help="processes that simulate and prepare series")
    parser.add_argument("--recalibrate", metavar="WEIGHTS", help="keep this network; find its probabilities anew")
    arguments = parser.parse_args()
    if arguments.recalibrate:
        recalibrate(arguments.recalibrate, arguments.out, n_jobs=arguments.jobs)
    else:
        train(arguments.out, n_jobs=arguments.jobs)


if __name__ == "__main__":
    main()
