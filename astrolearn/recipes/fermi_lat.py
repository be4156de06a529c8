"""How ``fermi-lat`` was trained: on simulated LAT skies of many kinds, never on real photons.

One finder is to serve any LAT map, so it is shown many: energy bins, event types, exposures, pixel sizes, whole skies
and images, with the diffuse template at hand (normalised wrongly and distorted, as templates are) or without. Four
families: six or so bins from 0.3 GeV on at nside 256; one to three bins of the best-reconstructed photons at nside 128;
photons above 10 or 50 GeV at nside 256 and 512, mostly without a template; and finely pixelled images around the
Galactic centre and along the plane. A quarter of the skies are partial.

Run ``python -m astrolearn.recipes.fermi_lat --out FOLDER [--diffuse gll_iem_v07.fits]``: about an hour on two cores.
"""

import argparse
import json
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from astrolearn.core.seeding import make_rng
from astrolearn.core.weights import ship_measured
from astrolearn.recipes.checkpoints import fit_with_checkpoints
from astrolearn.sources.fermi import DiffusePerturbation, GalacticTemplate, LATSkySimulator
from astrolearn.sources.finder import PointSourceFinder

__all__ = ["calibration_maps", "ship", "train", "training_maps"]

SEED = 20
FAMILIES = ("wide", "sharp", "hard", "image")
_ORDER = ("wide", "sharp", "wide", "hard", "sharp", "wide", "image", "image")  # cycled, shifted by one each time around
_CALIBRATION_ORDER = ("wide", "sharp", "wide", "hard", "sharp", *("image",) * 6)
_SKIES_PER_SIMULATOR = {"wide": 3, "sharp": 4, "hard": 2, "image": 6}
_PERTURBATION = DiffusePerturbation(norm=(0.75, 1.3), sigma=(0.03, 0.15), lmax=60, clumps=(0.0, 0.1))


class _Simulations:
    """Skies of one family; a new instrument set-up after every few skies, because templates are cached per set-up."""

    def __init__(self, family, diffuse, rng):
        self.family, self.diffuse, self.rng, self.left = family, diffuse, rng, 0

    def _edges(self):
        rng = self.rng
        if self.family == "wide":
            edges = np.array([0.3, 0.5, 1, 2, 7, 20, 1000])
            if rng.random() < 0.6:
                inner = np.sort(np.exp(rng.uniform(np.log(0.6), np.log(60), rng.integers(2, 6))))
                edges = np.concatenate([[rng.choice([0.3, 0.4, 0.5])], inner, [rng.choice([100, 500, 1000])]])
        elif self.family == "sharp":
            low = np.exp(rng.uniform(np.log(1.0), np.log(4.0)))
            high = low * rng.uniform(4, 20)
            edges = np.geomspace(low, high, rng.choice([2, 2, 3, 4]))
        elif self.family == "hard":
            low = rng.choice([10, 30, 50, 50])
            edges = np.geomspace(low, rng.choice([500, 2000]), rng.integers(2, 5))
        else:
            edges = np.geomspace(10, rng.choice([500, 2000]), rng.integers(4, 13))
        return edges * u.GeV

    def _simulator(self):
        rng, family = self.rng, self.family
        nside = {"wide": 256, "sharp": 128, "hard": int(rng.choice([256, 512])), "image": 256}[family]
        types = {
            "wide": ["FRONT", "FRONT", "FRONT+BACK", "BACK"],
            "sharp": ["PSF3", "PSF3", "FRONT", "PSF2"],
            "hard": ["FRONT+BACK", "FRONT+BACK", "FRONT"],
            "image": ["FRONT+BACK", "FRONT"],
        }[family]
        return LATSkySimulator(
            self._edges(),
            nside=nside,
            event_type=str(rng.choice(types)),
            years=float(rng.uniform(5, 13)),
            event_class=str(rng.choice(["SOURCE", "ULTRACLEANVETO"])) if family == "sharp" else "SOURCE",
            diffuse=self.diffuse,
            perturb=_PERTURBATION,
        )

    def draw(self):
        """One sky or image, without its template in a share of cases."""
        if self.left == 0:
            self.simulator, self.left = self._simulator(), _SKIES_PER_SIMULATOR[self.family]
        self.left -= 1
        rng = self.rng
        seed = int(rng.integers(2**31))
        bare = rng.random() < {"wide": 0.25, "sharp": 0.2, "hard": 0.7, "image": 0.4}[self.family]
        if self.family == "image":
            lon = rng.choice([0.0, rng.uniform(-180, 180)])
            lat = rng.choice([0.0, rng.normal(0, 8), rng.uniform(-70, 70)])
            scale = rng.choice([0.05, 0.05, 0.1]) * u.deg
            center = SkyCoord(lon, lat, unit=u.deg, frame="galactic")
            projection = "CAR" if abs(lat) < 5 else "TAN"
            shape = [(256, 384), (512, 768)][int(rng.integers(2))]
            image = self.simulator.simulate_image(center, shape, scale, projection=projection, random_state=seed)
            if bare:
                image.meta["background"] = None
            return image
        (skymap,) = self.simulator.sample(1, seed)
        if bare:
            skymap.background = None
        if rng.random() < 0.25:
            # a part of the sky only: everything on one side of a plane
            normal, offset = rng.normal(size=3), rng.uniform(-0.5, 0.5)
            skymap.mask = skymap.pixel_coords().cartesian.xyz.value.T @ (normal / np.linalg.norm(normal)) > offset
        return skymap


def training_maps(n_maps, diffuse=None, seed=SEED):
    """
    Simulated maps of all families in turn.

    Parameters
    ----------
    n_maps : int
        How many.
    diffuse : path-like, optional
        FITS file of the Galactic diffuse model gll_iem_v07, of any resolution. Default: downloaded from the Fermi
        Science Support Center.
    seed : int, optional
        Seed of everything.

    Yields
    ------
    SkyMap or `~astropy.nddata.CCDData`
        With their ``sources``.
    """
    # the shift lets every family fall among the maps that `PointSourceFinder.fit` sets apart
    order = [_ORDER[(number + number // len(_ORDER)) % len(_ORDER)] for number in range(n_maps)]
    yield from _draw(order, diffuse, seed)


def calibration_maps(n_rounds, diffuse=None, seed=SEED):
    """
    Simulated maps of all families, by number of detections alike, for `PointSourceFinder.calibrate`.

    Parameters
    ----------
    n_rounds : int
        Times eleven maps.
    diffuse, seed
        See `training_maps`, from which these differ.

    Yields
    ------
    SkyMap or `~astropy.nddata.CCDData`
    """
    yield from _draw(_CALIBRATION_ORDER * n_rounds, diffuse, seed + 1)


def _draw(order, diffuse, seed):
    rng = make_rng(seed)
    template = GalacticTemplate.download() if diffuse is None else GalacticTemplate(diffuse)
    families = {family: _Simulations(family, template, rng) for family in FAMILIES}
    for family in order:
        yield families[family].draw()


def train(out, diffuse=None, *, n_maps=128, n_rounds=5, max_epochs=12, n_jobs=1, seed=SEED):
    """
    Train the finder.

    Parameters
    ----------
    out : path-like
        Folder for the checkpoint of every epoch, the result ``finder.safetensors`` and what it was trained on,
        ``training.json``.
    diffuse : path-like, optional
        See `training_maps`.
    n_maps, n_rounds, max_epochs, n_jobs, seed : int, optional
        Size of the training, rounds of `calibration_maps`, processes that prepare maps, seed.

    Returns
    -------
    PointSourceFinder
        Fitted.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    # what is in force is kept in the file, whatever later versions have as defaults
    parameters = {name: PointSourceFinder().setting(name) for name in ("threshold", "match_radius", "min_significance")}
    parameters |= {"max_epochs": max_epochs, "batch_size": 16, "lr": 3e-3, "random_state": seed}
    finder = PointSourceFinder(**parameters)
    fit_with_checkpoints(finder, out, training_maps(n_maps, diffuse, seed), n_jobs=n_jobs)
    finder.set_params(n_jobs=n_jobs).calibrate(calibration_maps(n_rounds, diffuse, seed)).set_params(n_jobs=None)
    finder.save(out / "finder.safetensors", overwrite=True)
    name = "downloaded" if diffuse is None else Path(diffuse).name
    made = {"seed": seed, "n_maps": n_maps, "n_rounds": n_rounds, "diffuse": name}
    (out / "training.json").write_text(json.dumps(made) + "\n")
    return finder


def ship(weights, number, results, git_revision):
    """
    Put a trained finder among the weights that come with the package, with a card of what was measured on it.

    Parameters
    ----------
    weights : path-like
        ``finder.safetensors`` of `train`, with ``training.json`` beside it.
    number : int
        The shipped file is ``fermi-lat-<number>``; a number is never used again.
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
        "fermi-lat",
        number,
        results,
        recipe=__name__,
        seed=made["seed"],
        data=f"simulations only: {made['n_maps']} maps of astrolearn.sources.fermi with the Galactic diffuse template "
        f"{made['diffuse']}, perturbed",
        git_revision=git_revision,
        trained_on="simulated Fermi-LAT skies, 0.3 GeV to 2 TeV, nside 128 to 512 and images",
    )


def main():
    """Command line of the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="folder for the checkpoint and the fitted finder")
    parser.add_argument("--diffuse", help="FITS file of the Galactic diffuse model gll_iem_v07; default: download it")
    parser.add_argument("--maps", type=int, default=128, help="number of simulated maps")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--jobs", type=int, default=1, help="processes that prepare maps")
    arguments = parser.parse_args()
    train(arguments.out, arguments.diffuse, n_maps=arguments.maps, max_epochs=arguments.epochs, n_jobs=arguments.jobs)


if __name__ == "__main__":
    main()
