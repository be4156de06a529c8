"""How ``hst-simulated`` was trained: on simulated fields of galaxies and stars as HST sees them, never on real ones.

Two kinds of fields in turn. Deep ones have all sources to magnitude 26.5 in F160W, more densely than on the sky, so
that little of the computation goes to empty sky; bright ones have those to 24 only, which would be rare otherwise, and
whose shapes can be seen. Noise differs from field to field by a factor of 4, so that one network serves shallow and
deep mosaics. Every eighth field calibrates the probabilities.

Run ``python -m astrolearn.recipes.hst_simulated --out FOLDER``: 40 minutes on one core.
"""

import argparse
import json
from pathlib import Path

from astrolearn.core.progress import progress
from astrolearn.core.seeding import make_rng
from astrolearn.core.weights import ship_measured
from astrolearn.morphology.scenes import GalaxySceneSimulator
from astrolearn.morphology.segmenter import MorphologySegmenter

__all__ = ["SEED", "ship", "train", "training_scenes"]

SEED = 60
N_SCENES = 900
MAX_EPOCHS = 60
DEEP = {"density": 500.0, "magnitudes": (18.0, 26.5)}
BRIGHT = {"density": 250.0, "magnitudes": (18.0, 24.0)}


def training_scenes(n, seed=SEED, shape=(256, 256)):
    """
    Simulated fields, deep and bright ones in turn.

    Parameters
    ----------
    n : int
        How many.
    seed : int, optional
        Of everything.
    shape : pair of int, optional
        In pixels.

    Yields
    ------
    `~astrolearn.morphology.scenes.Scene`
    """
    rng = make_rng(seed)
    deep, bright = (GalaxySceneSimulator(shape=shape, **kind) for kind in (DEEP, BRIGHT))
    kinds = [simulator.stream(n, child) for simulator, child in zip((deep, bright), rng.spawn(2), strict=True)]
    for number in range(n):
        # the shift lets both kinds fall among the fields that `MorphologySegmenter.fit` sets apart
        yield next(kinds[(number + number // 8) % 2])


def train(out, *, n_scenes=N_SCENES, seed=SEED, shape=(256, 256), **parameters):
    """
    Train the segmenter.

    Parameters
    ----------
    out : path-like
        Folder for the result, ``segmenter.safetensors``, and what it was trained on, ``training.json``.
    n_scenes : int, optional
        Simulated fields.
    seed : int, optional
        Of everything.
    shape : pair of int, optional
        Of the fields, in pixels.
    **parameters
        Of `MorphologySegmenter`, instead of its defaults and of ``max_epochs=60``.

    Returns
    -------
    MorphologySegmenter
        Fitted.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    parameters = {"max_epochs": MAX_EPOCHS} | parameters
    scenes = progress(training_scenes(n_scenes, seed, shape), "simulating", total=n_scenes)
    images, labels = zip(*((scene.images, scene.labels) for scene in scenes), strict=True)
    segmenter = MorphologySegmenter(random_state=seed, verbose=1, **parameters).fit(list(images), labels)
    segmenter.set_params(verbose=0).save(out / "segmenter.safetensors", overwrite=True)
    made = {"seed": seed, "n_scenes": n_scenes, "shape": list(shape)} | parameters
    (out / "training.json").write_text(json.dumps(made) + "\n")
    return segmenter


def ship(weights, number, results, git_revision):
    """
    Put a trained segmenter among the weights that come with the package, with a card of what was measured on it.

    Parameters
    ----------
    weights : path-like
        ``segmenter.safetensors`` of `train`, with ``training.json`` beside it.
    number : int
        The shipped file is ``hst-simulated-<number>``; a number is never used again.
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
        MorphologySegmenter,
        weights,
        "hst-simulated",
        number,
        results,
        recipe=__name__,
        seed=made["seed"],
        data=f"simulations only: {made['n_scenes']} fields of {made['shape'][0]} x {made['shape'][1]} pixels with "
        "spheroids, disks, irregulars and point sources of F160W magnitudes 18 to 26.5",
        git_revision=git_revision,
        trained_on="simulated HST fields in F160W, F125W, F606W and F850LP: 0.06 arcsec pixels, PSFs not matched, "
        "noise of 0.5 to 2 times that of CANDELS",
    )


def main():
    """Command line of the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="folder for the fitted segmenter")
    train(parser.parse_args().out)


if __name__ == "__main__":
    main()
