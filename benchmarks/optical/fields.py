"""Star fields on which finders are compared, and how their catalogues are scored.

Stars of a matched-filter significance of 5 or more are asked for. Fainter and saturated stars are neither right nor
wrong to find, and neither are galaxies, within 1.5 times the stars' width: for every finder alike.
"""

from dataclasses import dataclass, replace

import numpy as np
from astropy.table import Table
from scipy.spatial import cKDTree

from astrolearn.sky import match
from astrolearn.sources.optical import Artefacts, EmpiricalPSF, MoffatPSF, StarFieldSimulator

__all__ = ["FIELDS", "OTHER_FIELDS", "SEED", "VALIDATION_SEED", "WIDTHS", "Score", "draw", "score"]

SEED, VALIDATION_SEED = 5000, 6000
WIDTHS = (1.8, 3.0, 5.0)
_LEAST, _RADIUS = 5.0, 1.0
_BRIGHT, _ALONE = 50.0, 0.01  # significance, and light of neighbours within three widths, of well-placed stars

_SPOILT = Artefacts(
    cosmic_rays=400, trails=2, hot_pixels=150, dead_pixels=150, bad_columns=4, strength=30.0, full_well=1000.0
)
FIELDS = {
    "uniform, 2000 stars": StarFieldSimulator(n_stars=2000),
    "clustered, 2000 stars": StarFieldSimulator(n_stars=2000, n_clusters=8),
    "crowded, 8000 stars": StarFieldSimulator(n_stars=8000),
    "artefacts, 2000 stars, 100 galaxies": StarFieldSimulator(n_stars=2000, n_galaxies=100, artefacts=_SPOILT),
}
"""1024 x 1024 pixels, Moffat PSF of beta 3, significances from 1.5 on with dN/dF ~ F^-2."""


def _diffraction(fwhm, oversampling=5, side=1024):
    """PSF of a telescope in space: a pupil with a third of its diameter obscured and four vanes (Fraunhofer)."""
    # the core of an unobscured pupil is 1.03 wavelengths over diameters wide
    radius = side * 1.03 / (oversampling * fwhm) / 2
    y, x = np.indices((side, side)) - side // 2
    r = np.hypot(x, y)
    pupil = (r < radius) & (r > radius / 3) & (np.abs(x) > 0.03 * radius) & (np.abs(y) > 0.03 * radius)
    amplitude = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(pupil)))
    middle, reach = side // 2, 40 * oversampling
    part = slice(middle - reach, middle + reach + 1)
    return EmpiricalPSF(np.abs(amplitude[part, part]) ** 2, oversampling)


def _ghosts_and_fringes(image, rng):
    """Reflections (out-of-focus rings), fringes of sky lines, and bands of pick-up noise: none was trained on."""
    y, x = np.indices(image.shape)
    noise = np.sqrt(325) / 1.5
    for _ in range(6):
        r = np.hypot(x - rng.uniform(0, 1024), y - rng.uniform(0, 1024))
        outer = rng.uniform(30, 90)
        image.data[(r < outer) & (r > 0.35 * outer)] += np.float32(3 * noise)
    wave = np.sin(2 * np.pi * (x + 8 * np.sin(y / 60)) / 16)
    image.data += (1.5 * noise * wave + noise * rng.normal(size=(1024, 1))).astype(np.float32)


_PLAIN = FIELDS["uniform, 2000 stars"]
OTHER_FIELDS = {
    "stars 1.2 pixels wide": (replace(_PLAIN, psf=MoffatPSF(1.2)), None),
    "stars 7 pixels wide": (replace(_PLAIN, psf=MoffatPSF(7.0)), None),
    "diffraction pattern, 2.5 pixels": (replace(_PLAIN, psf=_diffraction(2.5)), None),
    "steep and ragged background": (
        replace(_PLAIN, psf=MoffatPSF(3.0), gradient=80.0, nebulosity=8.0, nebula_scale=6.0), None
    ),
    "long and many cosmic rays": (
        replace(_PLAIN, psf=MoffatPSF(3.0), artefacts=replace(_SPOILT, cosmic_rays=4000, strength=60.0)), None
    ),
    "ghosts, fringes and bands": (replace(_PLAIN, psf=MoffatPSF(3.0)), _ghosts_and_fringes),
}
"""Simulator, and what is done to its images: outside of what the finder was trained on."""


def draw(simulator, n, seed, spoil=None):
    """Images of one kind."""
    images = simulator.sample(n, random_state=seed)
    if spoil is not None:
        for number, image in enumerate(images):
            spoil(image, np.random.default_rng(seed + number))
    return images


@dataclass
class Score:
    """What one catalogue recovers of one field; ``rms`` is that of well-placed stars, per axis in pixels."""

    f1: float
    purity: float
    completeness: float
    n_false: int
    rms: float


def score(catalogue, image):
    """
    Compare a catalogue with the truth.

    Parameters
    ----------
    catalogue : Table
        With ``x_centroid`` and ``y_centroid``.
    image : `~astropy.nddata.CCDData`

    Returns
    -------
    Score
    """
    truth = Table(image.meta["sources"])
    star = truth["kind"] == "star"
    asked = star & (truth["significance"] >= _LEAST)
    found = _not_galaxies(Table(catalogue["x_centroid", "y_centroid"]), truth, image.meta["fwhm"])
    if not len(found):
        return Score(0.0, np.nan, 0.0, 0, np.nan)
    result = match(found, truth[asked], _RADIUS, ignore=truth[~asked], n_shifts=2)
    pairs = found[result.catalogue_index], truth[asked][result.reference_index]
    placed = _well_placed(truth, image.meta["fwhm"])[asked][result.reference_index]
    off = [(pairs[0][axis] - pairs[1][axis])[placed] for axis in ("x_centroid", "y_centroid")]
    return Score(
        result.f1, result.purity, result.completeness, int(np.sum(~result.matched & ~result.ignored)),
        float(np.sqrt(np.mean(np.square(off)))) if placed.any() else np.nan,
    )


def _xy(table):
    return np.column_stack([table["x_centroid"], table["y_centroid"]])


def _not_galaxies(found, truth, fwhm):
    """Detections but for those of galaxies: near one, and on no star."""
    galaxies = truth[truth["kind"] == "galaxy"]
    if not len(galaxies) or not len(found):
        return found
    on_galaxy = cKDTree(_xy(galaxies)).query(_xy(found))[0] < 1.5 * fwhm
    on_star = cKDTree(_xy(truth[truth["kind"] != "galaxy"])).query(_xy(found))[0] < _RADIUS
    return found[~on_galaxy | on_star]


def _well_placed(truth, fwhm):
    """Which stars are bright and have next to no light of others within three widths."""
    flux = np.asarray(truth["flux"], dtype=float)
    pairs = cKDTree(_xy(truth)).query_pairs(3 * fwhm, output_type="ndarray")
    others = np.zeros(len(truth))
    for one, other in (pairs.T, pairs.T[::-1]):
        np.add.at(others, one, flux[other])
    return np.asarray((truth["significance"] > _BRIGHT) & (truth["kind"] == "star")) & (others < _ALONE * flux)
