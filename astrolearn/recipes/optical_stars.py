"""How ``optical-stars`` was trained: on simulated star fields of many cameras, never on real images.

One finder is to serve any optical image, so every training image is another camera on another sky: stars 1.4 to 6.5
pixels wide, Moffat or Gaussian, round or not; empty fields and crowds, clusters, galaxies, tilted and nebulous skies,
correlated noise; in two of three images cosmic rays, hot and dead pixels, bad columns, saturation with and without
bleeding, or satellite trails. Some images have masks, some come with their noise, and half of those that saturate do
not say at what level.

Run ``python -m astrolearn.recipes.optical_stars --out FOLDER``: forty minutes on one core.
"""

import argparse
import json
from pathlib import Path

import astropy.units as u
import numpy as np

from astrolearn.core.seeding import make_rng
from astrolearn.core.weights import ship_measured
from astrolearn.recipes.checkpoints import fit_with_checkpoints
from astrolearn.sky import match
from astrolearn.sources.finder import PointSourceFinder
from astrolearn.sources.optical import Artefacts, MoffatPSF, StarFieldSimulator

__all__ = ["ship", "simulate_images", "train"]

SEED = 21
SIDE = 512
"""Pixels along the training images."""
N_IMAGES, N_HELD, MAX_EPOCHS = 1000, 120, 6
_THRESHOLDS = np.arange(0.2, 0.9, 0.02)


def _log_uniform(rng, low, high):
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _artefacts(rng):
    """Of one image of 512 x 512 pixels."""
    if rng.random() < 0.35:
        return Artefacts()
    full_well = _log_uniform(rng, 100, 3000) if rng.random() < 0.6 else None
    return Artefacts(
        cosmic_rays=int(_log_uniform(rng, 1, 400)) if rng.random() < 0.7 else 0,
        trails=int(rng.integers(1, 3)) if rng.random() < 0.2 else 0,
        hot_pixels=int(_log_uniform(rng, 1, 150)) if rng.random() < 0.5 else 0,
        dead_pixels=int(_log_uniform(rng, 1, 150)) if rng.random() < 0.5 else 0,
        bad_columns=int(rng.integers(1, 4)) if rng.random() < 0.25 else 0,
        strength=_log_uniform(rng, 5, 200),
        full_well=full_well,
        bleeding=bool(rng.random() < 0.5),
    )


def _simulator(rng, side):
    """A camera and a sky."""
    beta = np.inf if rng.random() < 0.3 else rng.uniform(2.2, 5.0)
    psf = MoffatPSF(
        _log_uniform(rng, 1.4, 6.5), beta, min(abs(rng.normal(0, 0.08)), 0.25), rng.uniform(0, 180) * u.deg
    )
    cloudy = rng.random() < 0.25
    return StarFieldSimulator(
        (side, side),
        psf=psf,
        n_stars=int(_log_uniform(rng, 15, 3000) * (side / SIDE) ** 2),
        significance=(1.5, _log_uniform(rng, 300, 20000)),
        flux_index=rng.uniform(1.5, 2.3),
        n_clusters=int(rng.integers(1, 5)) if rng.random() < 0.3 else 0,
        clustered=rng.uniform(0.3, 0.9),
        cluster_radius=_log_uniform(rng, 10, 80),
        n_galaxies=int(_log_uniform(rng, 1, 60)) if rng.random() < 0.5 else 0,
        sky=_log_uniform(rng, 20, 3000),
        read_noise=rng.uniform(2, 15),
        gain=_log_uniform(rng, 0.3, 5),
        gradient=rng.uniform(0, 20) if rng.random() < 0.5 else 0.0,
        nebulosity=rng.uniform(0.5, 8) if cloudy else 0.0,
        nebula_scale=rng.uniform(12, 60),
        correlation=rng.uniform(0.3, 0.7) if rng.random() < 0.15 else 0.0,
        artefacts=_artefacts(rng),
        uncertainty=bool(rng.random() < 0.2),
    )


def simulate_images(n_images, seed=SEED, side=SIDE):
    """
    Simulated images of many cameras.

    Parameters
    ----------
    n_images : int
        How many.
    seed : int, optional
        Seed of everything.
    side : int, optional
        Of the images in pixels.

    Yields
    ------
    `~astropy.nddata.CCDData`
        With their ``meta["sources"]``.
    """
    rng = make_rng(seed)
    for _ in range(n_images):
        (image,) = _simulator(rng, side).sample(random_state=rng)
        if rng.random() < 0.5:
            image.meta.pop("SATURATE", None)
        if rng.random() < 0.2:
            image.mask = np.zeros(image.shape, bool)
            for _ in range(rng.integers(1, 4)):
                row, column = rng.integers(0, side, 2)
                height, width = (int(_log_uniform(rng, 1, side / 2)) for _ in range(2))
                image.mask[row : row + height, column : column + width] = True
        yield image


def train(out, *, n_images=N_IMAGES, n_held=N_HELD, max_epochs=MAX_EPOCHS, side=SIDE, n_jobs=None, seed=SEED,
          **parameters):
    """
    Train the finder, calibrate it on further images, and set its threshold to that of the best mean F1 on these.

    Parameters
    ----------
    out : path-like
        Folder for the checkpoint of every epoch, the result ``finder.safetensors`` and what it was trained on,
        ``training.json``.
    n_images, n_held, max_epochs, side : int, optional
        Images to train on and to calibrate with, length of the training, side of the images.
    n_jobs : int, optional
        Processes that prepare images.
    seed : int, optional
        Of everything.
    **parameters
        Of `PointSourceFinder`, instead of those of the recipe.

    Returns
    -------
    PointSourceFinder
        Fitted.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    parameters = {"kind": "optical", "max_epochs": max_epochs, "batch_size": 16, "lr": 3e-3, "random_state": seed} | (
        parameters
    )
    finder = PointSourceFinder(**parameters)
    fit_with_checkpoints(finder, out, simulate_images(n_images, seed, side), n_jobs=n_jobs)
    finder.calibrate(simulate_images(n_held, seed + 1, side))
    finder.set_params(threshold=_best_threshold(finder, simulate_images(n_held, seed + 1, side)))
    finder.save(out / "finder.safetensors", overwrite=True)
    made = {"seed": seed, "n_images": n_images, "n_held": n_held, "max_epochs": max_epochs, "side": side}
    (out / "training.json").write_text(json.dumps(made) + "\n")
    return finder


def _best_threshold(finder, images):
    """Of the highest F1, each image counting alike."""
    finder.set_params(threshold=float(_THRESHOLDS[0]))
    radius, scores = finder.setting("match_radius"), []
    for image in images:
        truth = image.meta["sources"]
        asked = (truth["kind"] == "star") & (truth["significance"] >= finder.setting("min_significance"))
        if asked.any():
            found = finder.predict(image)["probability", "x_centroid", "y_centroid"]
            chosen = [found[found["probability"] >= threshold] for threshold in _THRESHOLDS]
            scores.append([match(c, truth[asked], radius, ignore=truth[~asked], n_shifts=2).f1 for c in chosen])
    return round(float(_THRESHOLDS[np.argmax(np.mean(scores, axis=0))]), 2)


def ship(weights, number, results, git_revision):
    """
    Put a trained finder among the weights that come with the package, with a card of what was measured on it.

    Parameters
    ----------
    weights : path-like
        ``finder.safetensors`` of `train`, with ``training.json`` beside it.
    number : int
        The shipped file is ``optical-stars-<number>``; a number is never used again.
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
        PointSourceFinder,
        weights,
        "optical-stars",
        number,
        results,
        recipe=__name__,
        seed=made["seed"],
        data=f"simulations only: {made['n_images']} images of {made['side']} x {made['side']} pixels of "
        "astrolearn.sources.optical.StarFieldSimulator, each of another camera and sky",
        git_revision=git_revision,
        trained_on="simulated optical images: stars of 1.4 to 6.5 pixels FWHM, empty to crowded, with artefacts",
    )


def main():
    """Command line of the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="folder for the checkpoint and the fitted finder")
    parser.add_argument("--images", type=int, default=N_IMAGES, help="number of simulated images")
    parser.add_argument("--epochs", type=int, default=MAX_EPOCHS)
    parser.add_argument("--jobs", type=int, default=1, help="processes that prepare images")
    arguments = parser.parse_args()
    train(arguments.out, n_images=arguments.images, max_epochs=arguments.epochs, n_jobs=arguments.jobs)


if __name__ == "__main__":
    main()
