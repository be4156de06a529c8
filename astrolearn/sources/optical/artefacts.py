"""What detectors show that is not in the sky: cosmic rays, satellite trails, hot pixels, saturation and bleeding.

All of these but the trails have not gone through the telescope, and so are sharper than any star: that, and their
shapes, is how they can be told apart. Images here are in electrons.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["Artefacts", "add_cosmic_rays", "add_trails", "bleed", "spoil_pixels"]

_STEP = 0.2  # pixels between deposits along a track
_SPREAD = 0.25  # pixels, 1 sigma: diffusion of the charge


@dataclass(frozen=True)
class Artefacts:
    """
    What spoils an image, and how much of it.

    Parameters
    ----------
    cosmic_rays, trails, hot_pixels, dead_pixels, bad_columns : int, optional
        How many there are in an image.
    strength : float, optional
        Median brightness of cosmic rays and hot pixels, in standard deviations of the sky; trails have a fifth of it.
    full_well : float or None, optional
        Level at which pixels saturate, in standard deviations of the sky. None: they never do.
    bleeding : bool, optional
        Whether charge above the full well runs along the columns, as in a CCD, or is lost.
    """

    cosmic_rays: int = 0
    trails: int = 0
    hot_pixels: int = 0
    dead_pixels: int = 0
    bad_columns: int = 0
    strength: float = 30.0
    full_well: float | None = None
    bleeding: bool = True


def add_cosmic_rays(image, number, charge, rng, length=6.0):
    """
    Add tracks of charged particles: thin, straight, of any length, from a single pixel on.

    Parameters
    ----------
    image : array, shape (height, width)
        Changed in place.
    number : int
        Of particles.
    charge : float
        Median charge left in a pixel, in electrons; it scatters by a factor of three from track to track.
    rng : `numpy.random.Generator`
    length : float, optional
        Mean length of the longer half of the tracks, in pixels; the others are a pixel or two.
    """
    height, width = image.shape
    lengths = np.where(rng.random(number) < 0.5, rng.exponential(length, number), rng.uniform(0, 1.5, number))
    angle = rng.uniform(0, 2 * np.pi, number)
    x, y = rng.uniform(-0.5, width - 0.5, number), rng.uniform(-0.5, height - 0.5, number)
    per_step = charge * np.exp(rng.normal(0, np.log(3), number)) * _STEP
    n_steps = np.maximum(lengths / _STEP, 1 / _STEP).astype(int)  # as much charge as of one pixel at least
    track = np.repeat(np.arange(number), n_steps)
    along = np.arange(len(track)) - np.repeat(np.cumsum(n_steps) - n_steps, n_steps)
    along = along * _STEP * np.minimum(1, lengths / (n_steps * _STEP))[track]
    column, row = (
        np.rint(start[track] + along * direction[track] + rng.normal(0, _SPREAD, len(track))).astype(int)
        for start, direction in ((x, np.cos(angle)), (y, np.sin(angle)))
    )
    deposit = per_step[track] * rng.gamma(2, 0.5, len(track))  # losses of energy straggle
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    np.add.at(image, (row[inside], column[inside]), deposit[inside])


def add_trails(image, number, brightness, width, rng):
    """
    Add trails of satellites and aircraft across the whole image.

    Parameters
    ----------
    image : array, shape (height, width)
        Changed in place.
    number : int
    brightness : float
        Median light per pixel on the ridge, in electrons; it scatters by a factor of three.
    width : float
        Full width at half maximum of the PSF in pixels: trails are as wide or, out of focus, up to three times that.
    rng : `numpy.random.Generator`
    """
    rows, columns = np.indices(image.shape, sparse=True)
    for _ in range(number):
        angle, sigma = rng.uniform(0, np.pi), width * rng.uniform(1, 3) / 2.355
        x, y = rng.uniform(0, image.shape[1]), rng.uniform(0, image.shape[0])
        across = (columns - x) * np.sin(angle) - (rows - y) * np.cos(angle)
        light = brightness * np.exp(rng.normal(0, np.log(3))) * np.exp(-0.5 * (across / sigma) ** 2)
        if rng.random() < 0.3:  # one that tumbles or blinks
            along = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
            light = light * np.cos(np.pi * along / rng.uniform(20, 120)) ** 2
        image += light


def spoil_pixels(image, hot, dead, columns, charge, rng):
    """
    Make pixels hot or dead, and columns bad over a part of their length.

    Parameters
    ----------
    image : array, shape (height, width)
        Changed in place.
    hot, dead, columns : int
        Numbers of hot pixels, dead pixels and bad columns; half of the columns are dead, half bright.
    charge : float
        Median of a hot pixel in electrons; it scatters by a factor of three, and a bright column has a tenth of it.
    rng : `numpy.random.Generator`
    """
    height, width = image.shape
    row, column = rng.integers(0, height, hot + dead), rng.integers(0, width, hot + dead)
    image[row[:hot], column[:hot]] += charge * np.exp(rng.normal(0, np.log(3), hot))
    image[row[hot:], column[hot:]] *= rng.uniform(0, 0.5, dead)
    for _ in range(columns):
        part = slice(rng.integers(0, height), None) if rng.random() < 0.5 else slice(None)
        bright, column = rng.random() < 0.5, rng.integers(0, width)
        image[part, column] = image[part, column] + 0.1 * charge if bright else 0


def bleed(image, full_well):
    """
    Saturate pixels; what they cannot hold runs along the columns, half of it each way.

    Parameters
    ----------
    image : array, shape (height, width)
        Changed in place.
    full_well : float
        Electrons that a pixel can hold.

    Returns
    -------
    array of bool, shape (height, width)
        Which pixels are full.
    """
    columns = np.flatnonzero((image > full_well).any(axis=0))
    held = np.minimum(image[:, columns], full_well)
    excess = (image[:, columns] - held) / 2
    for order in (range(len(image)), range(len(image) - 1, -1, -1)):
        carried = np.zeros(len(columns))
        for row in order:
            carried += excess[row]
            taken = np.minimum(full_well - held[row], carried)
            held[row] += taken
            carried -= taken
    image[:, columns] = held
    return image >= 0.999 * full_well
