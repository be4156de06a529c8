"""How ``fermi-lat-classes`` was trained: on what the finder ``fermi-lat`` detects in simulated skies.

A classifier must know the mistakes of the finder that it works for. So each training sky is ten years of simulated
photons, year by year, with sources that vary; the shipped finder looks for sources in it; and every detection is
labelled with the class of the true source that it belongs to, or as fake. The shares of the classes are those of the
simulated sky. The loss gives rare classes more weight; on skies of their own, the probabilities are then fitted to the
true shares. Every fourth sky comes without the template of the diffuse emission, the others with it, normalised wrongly
and distorted, as templates are. Of 56 skies the network learns from 49, of which 7 are without: `SourceClassifier.fit`
holds every eighth back, all of them without.

Run ``python -m astrolearn.recipes.fermi_lat_classes --out FOLDER [--diffuse gll_iem_v07.fits]``: about half an hour on
two cores with ``--jobs 2``.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import joblib

from astrolearn.core.parallel import map_batches
from astrolearn.core.seeding import make_rng
from astrolearn.core.tables import atomic_write
from astrolearn.core.weights import ship_measured
from astrolearn.recipes.checkpoints import fit_with_checkpoints
from astrolearn.sources.classes.detections import prepare
from astrolearn.sources.classes.truth import true_classes
from astrolearn.sources.classifier import SourceClassifier
from astrolearn.sources.fermi import GalacticTemplate, LATSkySimulator
from astrolearn.sources.finder import PointSourceFinder

__all__ = ["calibrate", "look_at_maps", "look_at_sky", "ship", "train", "training_skies"]

SEED = 70
FINDER = "fermi-lat-1"
EVENT_TYPE = "FRONT+BACK"
_BARE_EVERY = 4
LEARNING_WEIGHT = {"agn": 1.0, "psr": 12.0, "pwn_snr": 2.0, "fake": 1.8}  # of the classes, in the loss
# How much it matters to recognise a class where one is decided on: the weights at which, on simulated skies apart from
# training and test, the smallest of the margins to 0.80 of active galaxies, 0.85 of pulsars, 0.80 of fakes and 0.80 of
# all is largest (`benchmarks.classes.decision.choose_weights`).
CLASS_WEIGHT = {"agn": 1.0, "psr": 14.6, "pwn_snr": 1.92, "fake": 3.86}


def look_at_sky(seed, simulator, bare=False):
    """
    Simulate a sky, find its sources and look at them.

    Parameters
    ----------
    seed : int
        Of the sky.
    simulator : LATSkySimulator
        Of ten years or so.
    bare : bool, optional
        Whether the maps come without the template of the diffuse emission.

    Returns
    -------
    detections : `~astrolearn.sources.classes.detections.Detections`
    classes : array of str
        What each one is.
    catalogue : SampleTable
        Of the finder.
    """
    ((total, years),) = simulator.sample_yearly(random_state=seed)
    if bare:
        for skymap in (total, *years):
            skymap.background = None
    return look_at_maps(total, years)


def look_at_maps(total, years, pixel_size=None):
    """
    Find the sources of simulated maps and look at them.

    Parameters
    ----------
    total : SkyMap
        In which they are found; its ``sources`` are the truth.
    years : list of SkyMap
        That add up to it, though they may have finer energy bins.
    pixel_size : float, optional
        Radians, to which finer pixels are summed once sources are found. Default: as they are.

    Returns
    -------
    detections, classes, catalogue
        See `look_at_sky`.
    """
    catalogue = PointSourceFinder.from_pretrained(FINDER).predict(total)
    seen = prepare(years, catalogue["coord"], catalogue["probability"], psf=None, pixel_size=pixel_size)
    return seen, true_classes(catalogue, total.sources), catalogue


def training_skies(n_skies, diffuse=None, seed=SEED, folder=None, n_jobs=1):
    """
    What the finder detects in simulated skies, and what it is.

    Parameters
    ----------
    n_skies : int
        How many.
    diffuse : path-like, optional
        FITS file of the Galactic diffuse model gll_iem_v07, of any resolution. Default: downloaded from the Fermi
        Science Support Center.
    seed : int, optional
        Seed of everything.
    folder : path-like, optional
        Where each sky is kept, about 60 MB, and taken from if it is there.
    n_jobs : int, optional
        Processes.

    Yields
    ------
    tuple
        Detections, None, and the class of each: what `SourceClassifier.fit` takes for each sky.
    """
    template = GalacticTemplate.download() if diffuse is None else GalacticTemplate(diffuse)
    simulator = LATSkySimulator(event_type=EVENT_TYPE, diffuse=template)
    seeds = make_rng(seed).integers(2**31, size=n_skies).tolist()
    look = partial(_kept_sky, simulator=simulator, folder=None if folder is None else Path(folder))
    yield from map_batches(look, enumerate(seeds), n_jobs, ahead=2)


def _kept_sky(numbered, simulator, folder):
    number, seed = numbered
    path = None if folder is None else folder / f"sky-{seed}.joblib"
    if path is not None and path.is_file():
        return joblib.load(path)
    seen, classes, _ = look_at_sky(seed, simulator, bare=number % _BARE_EVERY == _BARE_EVERY - 1)
    if path is not None:
        atomic_write(lambda partial_path: joblib.dump((seen, None, classes), partial_path), path, overwrite=True)
    return seen, None, classes


def calibrate(classifier, out, diffuse=None, *, n_skies=12, n_jobs=1, seed=SEED):
    """
    Fit the probabilities on skies of their own, and set the weights by which classes are decided on.

    Parameters
    ----------
    classifier : SourceClassifier
        Fitted; it is changed.
    out : path-like
        Where the skies and the result ``classifier.safetensors`` are kept.
    diffuse, n_skies, n_jobs, seed
        See `training_skies`, from which these skies differ.

    Returns
    -------
    SourceClassifier
    """
    Path(out).mkdir(parents=True, exist_ok=True)
    classifier.calibrate(training_skies(n_skies, diffuse, seed + 1, out, n_jobs)).set_params(class_weight=CLASS_WEIGHT)
    classifier.save(Path(out) / "classifier.safetensors", overwrite=True)
    return classifier


def train(out, diffuse=None, *, n_skies=56, n_calibration=12, n_jobs=1, seed=SEED, **parameters):
    """
    Train the classifier.

    Parameters
    ----------
    out : path-like
        Folder for the skies (60 MB each; those that are there are used), the checkpoint of every epoch, the result
        ``classifier.safetensors`` and what it was trained on, ``training.json``.
    diffuse : path-like, optional
        See `training_skies`.
    n_skies, n_calibration, n_jobs, seed : int, optional
        Skies of the training and of `calibrate`, processes that prepare skies, seed.
    **parameters
        Of `SourceClassifier`, instead of the recipe's.

    Returns
    -------
    SourceClassifier
        Fitted.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    # what is in force is kept in the file, whatever later versions have as defaults
    parameters = {"class_weight": LEARNING_WEIGHT, "psf": EVENT_TYPE, "random_state": seed} | parameters
    classifier = SourceClassifier(**parameters)
    fit_with_checkpoints(classifier, out, training_skies(n_skies, diffuse, seed, out, n_jobs))
    calibrate(classifier, out, diffuse, n_skies=n_calibration, n_jobs=n_jobs, seed=seed)
    name = "downloaded" if diffuse is None else Path(diffuse).name
    made = {"seed": seed, "n_skies": n_skies, "n_calibration": n_calibration, "diffuse": name, "finder": FINDER}
    made["event_type"] = EVENT_TYPE
    (out / "training.json").write_text(json.dumps(made) + "\n")
    return classifier


def ship(weights, number, results, git_revision):
    """
    Put a trained classifier among the weights that come with the package, with a card of what was measured on it.

    Parameters
    ----------
    weights : path-like
        ``classifier.safetensors`` of `train`, with ``training.json`` beside it.
    number : int
        The shipped file is ``fermi-lat-classes-<number>``; a number is never used again.
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
        SourceClassifier,
        weights,
        "fermi-lat-classes",
        number,
        results,
        recipe=__name__,
        seed=made["seed"],
        data=f"simulations only: detections of {made['finder']} in {made['n_skies']} skies, of which every eighth was "
        f"held back (calibrated on {made['n_calibration']} more), of "
        f"astrolearn.sources.fermi, ten years of {made['event_type']} photons, with the Galactic diffuse template "
        f"{made['diffuse']}, perturbed",
        git_revision=git_revision,
        trained_on=f"simulated Fermi-LAT skies: ten yearly maps, six bins of 0.3 GeV to 1 TeV, {made['event_type']}, "
        "nside 256",
    )


def main():
    """Command line of the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="folder for the checkpoint and the fitted classifier")
    parser.add_argument("--diffuse", help="FITS file of the Galactic diffuse model gll_iem_v07; default: download it")
    parser.add_argument("--skies", type=int, default=56, help="number of simulated skies")
    parser.add_argument("--jobs", type=int, default=1, help="processes that prepare skies")
    parser.add_argument("--recalibrate", metavar="WEIGHTS", help="fit the probabilities of a trained classifier anew")
    arguments = parser.parse_args()
    if arguments.recalibrate:
        classifier = SourceClassifier.load(arguments.recalibrate)
        calibrate(classifier, arguments.out, arguments.diffuse, n_jobs=arguments.jobs, seed=classifier.random_state)
        return
    train(arguments.out, arguments.diffuse, n_skies=arguments.skies, n_jobs=arguments.jobs)


if __name__ == "__main__":
    main()
