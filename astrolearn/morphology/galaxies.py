"""
Galaxies and stars as sums of simple light profiles, each with a spectrum of its own.

A spheroid is one Sersic profile, a disk an inclined one with a bulge, arms, a bar and knots, an irregular a few offset
pieces with knots and tails. What tells the classes apart is the shape; colours only follow, because arms and knots are
younger than bulges. The ranges here are choices within what is known of galaxies at redshifts 0.2 to 2.5, not fits to
them: sizes are of the order of those of van der Wel et al. (2014, ApJ 788, 28), disks rounder and larger than
spheroids of the same magnitude; thickness is that of Hubble (1926, ApJ 64, 321). Classes overlap, as real ones do.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy.constants import c, h, k_B
from scipy.special import erf, gamma, gammainc, gammaincinv

__all__ = ["CLASSES", "Knots", "Sersic", "Source", "Spiral", "blackbody", "draw_source", "stellar_light"]

CLASSES = ("spheroid", "disk", "irregular", "point_source")
"""Kinds of sources."""

_INSIDE = 0.99  # share of the light of a Sersic profile within its image
_LARGEST = 200  # pixels: half the side of the largest image
_CORE = 3  # pixels: half the side of the central square that is sampled finely
_CORE_SAMPLES = 9


class Pixels(NamedTuple):
    """The light of a profile in pixels, and where its first row and column are."""

    image: np.ndarray
    row: int
    column: int


@lru_cache(maxsize=4096)
def sersic_b(n):
    """
    The constant b of a Sersic profile: half the light is within the effective radius.

    The root of 2 gammainc(2 n, b) = 1, of which Ciotti & Bertin (1999, A&A 352, 447), equation 18, is the expansion.
    """
    return float(gammaincinv(2 * n, 0.5))


@dataclass(frozen=True)
class Sersic:
    """
    A Sersic profile of unit flux.

    Parameters
    ----------
    r_e : float
        Effective radius along the major axis, pixels.
    n : float
        Sersic index.
    q : float, optional
        Axis ratio. Default: 1.
    angle : float, optional
        Of the major axis, from +x to +y, rad. Default: 0.
    x, y : float, optional
        Offset from the centre of the source, pixels. Default: 0.
    """

    r_e: float
    n: float
    q: float = 1.0
    angle: float = 0.0
    x: float = 0.0
    y: float = 0.0

    def enclosed(self, r):
        """Share of the light within the ellipse of semi-major axis ``r`` (pixels)."""
        return gammainc(2 * self.n, sersic_b(self.n) * (np.asarray(r) / self.r_e) ** (1 / self.n))

    def render(self, x, y):
        """
        The light in pixels.

        Parameters
        ----------
        x, y : float
            Centre of the source, pixels.

        Returns
        -------
        pixels : `Pixels`
            float32, as large as 99 % of the light needs, but at most 401 pixels wide.
        """
        x, y = x + self.x, y + self.y
        column, row = round(x), round(y)
        reach = self.r_e * (gammaincinv(2 * self.n, _INSIDE) / sersic_b(self.n)) ** self.n
        half = min(int(reach) + 2, _LARGEST)
        # thin disks and small ones need finer sampling everywhere, others in the core only
        samples = 1 if self.q * self.r_e > 2.5 else 3
        step = np.arange(-half, half + 1)
        image = self._mean_brightness(step + column - x, step + row - y, samples)
        core = slice(half - min(half, _CORE), half + min(half, _CORE) + 1)
        image[core, core] = self._mean_brightness(step[core] + column - x, step[core] + row - y, _CORE_SAMPLES)
        # what sampling has missed of a steep core is put back there: the light within a large ellipse is known, and if
        # that is too few pixels, that in the whole image nearly so
        inside = slice(None)
        if self.q * half > 6:
            inside = self._radius(step + column - x, step + row - y) < half
        missing = self.enclosed(half) - image[inside].sum(dtype=float)
        image[core, core] *= max(1 + missing / image[core, core].sum(dtype=float), 0.5)
        return Pixels(image, row - half, column - half)

    def _radius(self, dx, dy):
        along, across = _turn(np.float32(dx)[None, :], np.float32(dy)[:, None], self.angle)
        across /= np.float32(self.q)
        return np.sqrt(along * along + across * across)

    def _mean_brightness(self, dx, dy, samples):
        fine = (np.arange(samples) + 0.5) / samples - 0.5
        radius = self._radius((dx[:, None] + fine).ravel(), (dy[:, None] + fine).ravel()) / np.float32(self.r_e)
        # the brightness of a cusp is not that of its innermost sample: below its size, the mean
        innermost = 0.7 / samples / self.r_e
        b = sersic_b(self.n)
        peak = b ** (2 * self.n) / (2 * np.pi * self.n * gamma(2 * self.n) * self.r_e**2 * self.q)
        light = np.float32(peak) * np.exp(np.float32(-b) * radius ** np.float32(1 / self.n))
        mean = self.enclosed(innermost * self.r_e) / (np.pi * (innermost * self.r_e) ** 2 * self.q)
        light = np.where(radius < innermost, np.float32(mean), light)
        return light.reshape(len(dy), samples, len(dx), samples).mean(axis=(1, 3))


@dataclass(frozen=True)
class Spiral:
    """
    Logarithmic arms in an inclined exponential disk, of unit flux.

    Parameters
    ----------
    r_e : float
        Effective radius of the disk, pixels.
    q : float
        Axis ratio of the disk.
    angle : float
        Of its major axis, from +x to +y, rad.
    arms : int
        Number of arms.
    pitch : float
        Angle between the arms and circles, rad; negative: they wind the other way.
    phase : float
        Where they start, rad.
    sharpness : float
        Power of the arms' profile: 1 is a cosine, larger numbers are narrower arms.
    """

    r_e: float
    q: float
    angle: float
    arms: int
    pitch: float
    phase: float
    sharpness: float

    def render(self, x, y):
        """The light in pixels; see `Sersic.render`."""
        column, row = round(x), round(y)
        half = min(int(3.5 * self.r_e) + 2, _LARGEST)
        step = np.arange(-half, half + 1, dtype=np.float32)
        dx, dy = step + np.float32(column - x), step + np.float32(row - y)
        along, across = _turn(dx[None, :], dy[:, None], self.angle)
        across /= np.float32(self.q)
        radius = np.sqrt(along * along + across * across) / np.float32(self.r_e) + np.float32(1e-3)
        wave = np.cos(
            self.arms * (np.arctan2(across, along) - np.log(radius) / math.tan(self.pitch)) + float(self.phase)
        )
        # arms are wider spread than the disk (effective radius over scale length: 1.678) and begin outside the bulge
        image = ((1 + wave) / 2) ** self.sharpness * np.exp(-1.4 * radius) * (1 - np.exp(-((2.5 * radius) ** 2)))
        return Pixels((image / image.sum()).astype(np.float32), row - half, column - half)


@dataclass(frozen=True)
class Knots:
    """
    Round Gaussians, exactly integrated over the pixels: clumps, and chained to tails.

    Parameters
    ----------
    x, y : `numpy.ndarray`, (n,)
        Offsets from the centre of the source, pixels.
    sigma : `numpy.ndarray`, (n,)
        Widths, pixels.
    flux : `numpy.ndarray`, (n,)
        Shares of the light; their sum is 1.
    """

    x: np.ndarray
    y: np.ndarray
    sigma: np.ndarray
    flux: np.ndarray

    def render(self, x, y):
        """The light in pixels; see `Sersic.render`."""
        spans, shares = [], []
        for centre in (x + self.x, y + self.y):
            low = int(np.floor((centre - 4 * self.sigma).min()))
            high = int(np.ceil((centre + 4 * self.sigma).max()))
            low, high = max(low, round(centre.mean()) - _LARGEST), min(high, round(centre.mean()) + _LARGEST)
            edges = np.arange(low, high + 2) - 0.5
            scaled = (edges[None, :] - centre[:, None]) / (np.sqrt(2) * self.sigma[:, None])
            shares.append(np.diff(erf(scaled), axis=1) / 2)
            spans.append(low)
        image = (shares[1] * self.flux[:, None]).T @ shares[0]
        return Pixels(image.astype(np.float32), spans[1], spans[0])


def _turn(x, y, angle):
    """Coordinates along and across a direction (rad, from +x to +y)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    return cosine * x + sine * y, cosine * y - sine * x


# -- spectra ----------------------------------------------------------------------------------------------------------
def stellar_light(wavelength, age, dust=0.0):
    """
    Relative flux density f_nu of stars of one age: power laws with a break at 4000 Angstrom, and dust.

    A recipe, not a synthesis. Above the break the slope goes from 0.1 (young) to 1.3 (old) up to 1.6 micron, where old
    stars peak; the break is 1.1 mag deep in old stars; below it, slopes go from 0.2 to 3.7. Dust dims as
    (wavelength / 0.55 micron)^-0.7 (Charlot & Fall 2000, ApJ 539, 718).

    Parameters
    ----------
    wavelength : `numpy.ndarray`
        At rest, micron.
    age : float
        From 0 (young) to 1 (old).
    dust : float, optional
        Attenuation in mag at 0.55 micron. Default: 0.

    Returns
    -------
    light : `numpy.ndarray`
    """
    wavelength = np.asarray(wavelength, dtype=float)
    above = np.log(np.clip(wavelength, 0.385, 1.6) / 0.385) * (0.1 + 1.2 * age)
    below = np.log(np.minimum(wavelength, 0.385) / 0.385) * (0.2 + 3.5 * age)
    step = 0.5 * (1 - np.tanh(np.log(wavelength / 0.385) / 0.06))  # as wide as a broad band
    return np.exp(above + below) * 10 ** (-0.4 * (1.1 * age * step + dust * (wavelength / 0.55) ** -0.7))


def blackbody(wavelength, temperature):
    """Relative flux density f_nu of a black body; wavelengths in micron, temperature in K."""
    x = (h * c / k_B / (temperature * u.K)).to_value(u.um) / np.asarray(wavelength, dtype=float)
    return x**3 / np.expm1(x)


# -- sources ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Source:
    """
    A source without a place.

    Parameters
    ----------
    kind : str
        One of `CLASSES`.
    parts : tuple
        Pairs of a profile (`Sersic`, `Spiral`, `Knots`) and its AB magnitudes in the bands, (n_bands,); a point source
        has one, whose profile is None.
    r_e : float
        Effective radius of the main profile, pixels; 0 of a point source.
    n, q, angle : float
        Sersic index, axis ratio and direction (rad, from +x to +y) of the main profile; NaN of a point source.
    bulge_to_total : float
        Share of the bulge in the first band; NaN where there is no such thing.
    redshift : float
    """

    kind: str
    parts: tuple
    r_e: float = 0.0
    n: float = np.nan
    q: float = np.nan
    angle: float = np.nan
    bulge_to_total: float = np.nan
    redshift: float = 0.0

    @property
    def magnitudes(self):
        """AB magnitudes of the whole source, (n_bands,)."""
        return -2.5 * np.log10(sum(10 ** (-0.4 * magnitudes) for _, magnitudes in self.parts))


def draw_source(kind, magnitude, wavelengths, pixel_scale, rng):
    """
    Draw a source of a class and magnitude.

    Parameters
    ----------
    kind : str
        One of `CLASSES`.
    magnitude : float
        AB, in the first band.
    wavelengths : `numpy.ndarray`, (n_bands,)
        Of the bands, micron.
    pixel_scale : float
        Arcsec.
    rng : `numpy.random.Generator`

    Returns
    -------
    source : `Source`
    """
    if kind == "point_source":
        if rng.random() < 0.1:  # quasars: f_nu falls as frequency^-0.5
            redshift, light = rng.uniform(0.5, 3.0), wavelengths**0.5
        else:  # most stars of deep fields are M dwarfs
            redshift = 0.0
            light = blackbody(wavelengths, rng.choice([rng.uniform(2700, 3900), rng.uniform(3900, 6500)], p=[0.7, 0.3]))
        return Source(kind, ((None, _spread(magnitude, 1, light)),), redshift=redshift)
    # fainter is farther: medians from 0.4 at magnitude 19 to 1.4 at 26
    redshift = np.clip((0.4 + 0.143 * (magnitude - 19)) * rng.lognormal(0, 0.4), 0.2, 2.5)
    draw = {"spheroid": _draw_spheroid, "disk": _draw_disk, "irregular": _draw_irregular}[kind]
    shares, main = draw(magnitude, pixel_scale, rng)
    rest = wavelengths / (1 + redshift)
    total = sum(share for _, share, _, _ in shares)
    parts = tuple(
        (profile, _spread(magnitude, share / total, stellar_light(rest, age, dust)))
        for profile, share, age, dust in shares
    )
    return Source(kind, parts, redshift=float(redshift), **main)


def _spread(magnitude, share, light):
    return magnitude - 2.5 * np.log10(share * light / light[0])


def _draw_size(at_22, magnitude, slope, pixel_scale, rng):
    """Effective radius in pixels: log-normal (0.2 dex) about ``at_22`` arcsec at magnitude 22."""
    radius = at_22 * 10 ** (slope * (22 - magnitude) + 0.2 * rng.standard_normal())
    return float(np.clip(radius, 0.04, 2.5) / pixel_scale)


def _draw_spheroid(magnitude, pixel_scale, rng):
    r_e = _draw_size(0.2, magnitude, 0.13, pixel_scale, rng)
    n, q, angle = rng.uniform(2.5, 6), 1 - 0.5 * rng.beta(1.3, 1.6), rng.uniform(0, np.pi)
    age, dust = np.clip(rng.normal(0.85, 0.15), 0.3, 1), rng.exponential(0.1)
    main = {"r_e": r_e, "n": n, "q": q, "angle": angle, "bulge_to_total": 1.0}
    return [(Sersic(r_e, n, q, angle), 1.0, age, dust)], main


def _draw_disk(magnitude, pixel_scale, rng):
    r_e = _draw_size(0.45, magnitude, 0.10, pixel_scale, rng)
    n, angle = rng.uniform(0.8, 1.3), rng.uniform(0, np.pi)
    thickness, cos_i = rng.uniform(0.12, 0.25), rng.random()
    q = np.sqrt(cos_i**2 * (1 - thickness**2) + thickness**2)
    bulge = 0.4 * rng.beta(1, 1.5)
    age, dust = rng.uniform(0.1, 0.75), min(rng.exponential(0.4) / max(cos_i, 0.3), 2)
    parts = []
    if bulge > 0.01:
        round_q = 1 - 0.6 * (1 - q)
        small = Sersic(r_e * rng.uniform(0.12, 0.3), rng.uniform(1.5, 4), round_q, angle)
        parts.append((small, bulge, np.clip(rng.normal(0.88, 0.1), age, 1), 0.5 * dust))
    rest = 1 - bulge
    # structure within a disk is drawn where there are pixels enough to see it
    if q > 0.35 and q * r_e > 2.5:
        if rng.random() < 0.65:
            arms = Spiral(r_e, q, angle, int(rng.choice([2, 3, 4], p=[0.7, 0.15, 0.15])),
                          rng.choice([-1, 1]) * np.deg2rad(rng.uniform(12, 32)), rng.uniform(0, 2 * np.pi),
                          rng.uniform(1, 3))  # fmt: skip
            share = rng.uniform(0.15, 0.5) * rest
            parts.append((arms, share, max(age - rng.uniform(0.15, 0.4), 0), dust))
            rest -= share
        if rng.random() < 0.3:
            bar = Sersic(r_e * rng.uniform(0.3, 0.6), 0.5, max(0.3 * q, 0.15), rng.uniform(0, np.pi))
            share = rng.uniform(0.05, 0.15) * rest
            parts.append((bar, share, min(age + 0.15, 1), dust))
            rest -= share
    if rng.random() < 0.5:
        number = 1 + rng.poisson(4)
        share = rng.uniform(0.01, 0.08) * rest
        knots = _draw_knots(number, r_e, q, angle, (0.05, 0.12), rng)
        parts.append((knots, share, rng.uniform(0, 0.15), 0.5 * dust))
        rest -= share
    parts.append((Sersic(r_e, n, q, angle), rest, age, dust))
    return parts, {"r_e": r_e, "n": n, "q": q, "angle": angle, "bulge_to_total": bulge}


def _draw_irregular(magnitude, pixel_scale, rng):
    r_e = _draw_size(0.36, magnitude, 0.09, pixel_scale, rng)
    n, q, angle = rng.uniform(0.4, 1.1), rng.uniform(0.3, 0.9), rng.uniform(0, np.pi)
    age, dust = rng.uniform(0.05, 0.65), min(rng.exponential(0.6), 2)
    # the body: pieces that do not share a centre; in a merger, one of them is a second galaxy with an old core
    merger = rng.random() < 0.35
    parts, shares = [], rng.dirichlet(np.full(rng.integers(2, 4), 3.0))
    for index, share in enumerate(sorted(shares, reverse=True)):
        away, where = rng.uniform(0.4, 1.1) * r_e * (index > 0), rng.uniform(0, 2 * np.pi)
        size = r_e * (rng.uniform(0.9, 1.1) if index == 0 else rng.uniform(0.35, 0.8))
        piece = Sersic(size, n if index == 0 else rng.uniform(0.5, 1.5), q if index == 0 else rng.uniform(0.35, 0.9),
                       angle if index == 0 else rng.uniform(0, np.pi),
                       away * np.cos(where), away * np.sin(where))  # fmt: skip
        parts.append((piece, 0.65 * share, np.clip(age + rng.uniform(-0.15, 0.15), 0, 1), dust))
    if merger:
        away, where = rng.uniform(1.0, 2.5) * r_e, rng.uniform(0, 2 * np.pi)
        other = Sersic(r_e * rng.uniform(0.3, 0.8), rng.uniform(0.8, 3), rng.uniform(0.4, 1), rng.uniform(0, np.pi),
                       away * np.cos(where), away * np.sin(where))  # fmt: skip
        parts.append((other, rng.uniform(0.15, 0.6), np.clip(age + rng.uniform(0, 0.4), 0, 1), dust))
    knots = _draw_knots(2 + rng.poisson(6), 1.2 * r_e, q, angle, (0.04, 0.2), rng)
    parts.append((knots, rng.uniform(0.1, 0.4), rng.uniform(0, 0.2), 0.5 * dust))
    if rng.random() < (0.7 if merger else 0.2):
        parts.append((_draw_tail(r_e, rng), rng.uniform(0.05, 0.2), age, 0.5 * dust))
    return parts, {"r_e": r_e, "n": n, "q": q, "angle": angle}


def _draw_knots(number, r_e, q, angle, sizes, rng):
    """Clumps over an inclined disk; their fluxes are log-normal."""
    radius, theta = r_e * rng.gamma(2.0, 0.5, number), rng.uniform(0, 2 * np.pi, number)
    along, across = radius * np.cos(theta), q * radius * np.sin(theta)
    flux = rng.lognormal(0, 0.9, number)
    sigma = np.maximum(r_e * rng.uniform(*sizes, number), 0.3)
    return Knots(*_turn(along, across, -angle), sigma, flux / flux.sum())


def _draw_tail(r_e, rng):
    """A tidal tail: a fading arc of a circle through the galaxy."""
    bend = rng.choice([-1, 1]) * rng.uniform(3, 8) * r_e  # the circle's radius
    along = np.linspace(0.8, rng.uniform(3, 5.5), 14) * r_e
    start = rng.uniform(0, 2 * np.pi)
    dx, dy = bend * np.sin(along / bend), bend * (1 - np.cos(along / bend))
    flux = np.exp(-along / (2.5 * r_e))
    sigma = np.maximum(r_e * np.linspace(0.3, 0.22, 14), 0.4)
    return Knots(*_turn(dx, dy, -start), sigma, flux / flux.sum())
