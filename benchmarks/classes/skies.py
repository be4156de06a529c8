"""Skies that no classifier was trained on: what the shipped finder detects in them, and what each detection is.

Making a sky takes half a minute, so each is kept in the cache, under a name that says its seed, its kind and the
finder. A kind is a simulator and what the finder is told about the diffuse emission. Pages that compare kinds use equal
seeds: these have the same sources at the same places.
"""

from dataclasses import dataclass, field
from functools import lru_cache, partial
from hashlib import sha256

import healpy as hp
import joblib
import numpy as np
from astropy.table import Table

from astrolearn.core.parallel import map_batches
from astrolearn.core.progress import progress
from astrolearn.core.tables import atomic_write
from astrolearn.core.weights import find_pretrained
from astrolearn.recipes.fermi_lat_classes import FINDER, look_at_maps
from astrolearn.sky import SkyMap, stack_maps
from astrolearn.sources.classes.detections import Detections
from astrolearn.sources.classes.labels import FAINT
from astrolearn.sources.classes.truth import true_classes
from benchmarks.classes.context import JOBS
from benchmarks.fermi.settings import GROUPS_50
from benchmarks.fermi.skies import simulator

__all__ = ["KINDS", "SEED", "TUNING_SEED", "Kind", "Sky", "class_of_faint", "skies"]

SEED = 700_000  # of the skies that are reported
TUNING_SEED = 750_000  # of those on which weights and settings were chosen
_FAINTEST, _SIGNIFICANT = 0.5, 2.5  # expected significances between which a source is faint, see `true_classes`


@dataclass(frozen=True)
class Kind:
    """
    A kind of sky.

    Attributes
    ----------
    base : str
        Of `benchmarks.fermi.skies`.
    changes : dict
        Of the parameters of its simulator.
    template : {"right", "wrong", "none"}
        What is given of the diffuse emission: the model that the sky was made of, undistorted; the other one of
        gll_iem_v07 and the analytic model; or nothing.
    yearly : bool
        Whether years are told apart.
    groups : tuple or None
        Energy bins that are merged for the finder.
    nside : int or None
        To which pixels are summed once sources are found.
    """

    base: str = "wide"
    changes: dict = field(default_factory=lambda: {"event_type": "FRONT+BACK"})
    template: str = "right"
    yearly: bool = True
    groups: tuple | None = None
    nside: int | None = None


def _both(**changes):
    return {"event_type": "FRONT+BACK"} | changes


KINDS = {
    "as trained": Kind(),
    "wrong template": Kind(template="wrong"),
    "no template": Kind(template="none"),
    "analytic": Kind(changes=_both(diffuse=None)),
    "analytic, wrong template": Kind(changes=_both(diffuse=None), template="wrong"),
    "analytic, no template": Kind(changes=_both(diffuse=None), template="none"),
    "FRONT": Kind(changes={"event_type": "FRONT"}),
    "8 years": Kind(changes=_both(years=8.0)),
    "15 years": Kind(changes=_both(years=15.0)),
    "nside 512": Kind(changes=_both(nside=512), nside=256),
    "uneven years": Kind(),
    "2-20": Kind(base="2-20", changes={}, yearly=False),
    "50": Kind(base="50", changes={}, template="none", groups=GROUPS_50),
}
"""Kinds by name; the last two are those of the real maps."""

_UNEVEN = {"uneven years": 0.05}  # scatter of the exposure of years


@dataclass
class Sky:
    """
    What was detected in a sky.

    Attributes
    ----------
    detections : Detections
    labels : array of str, shape (n,)
    faint_labels : array of str, shape (n,)
        The same, with the class of the faint source for those that are ``"faint"``.
    catalogue : Table
        Of the finder: l, b, probability, significance.
    sources : Table
        The true ones of expected significance 0.5 or more: l, b, class, significance, extension.
    """

    detections: Detections
    labels: np.ndarray
    faint_labels: np.ndarray
    catalogue: Table
    sources: Table


def skies(kind, n, context, seed=SEED):
    """Generate ``n`` skies of a kind, with the seeds ``seed``, ``seed + 1`` ..., made in two processes and kept."""
    place = partial(_path, kind, cache=context.cache)
    missing = [s for s in range(seed, seed + n) if not place(s).is_file()]
    make = partial(_make, kind=kind, data=context.data, cache=context.cache)
    made = map_batches(make, missing, min(JOBS, max(len(missing), 1)))
    for _ in progress(made, f"skies: {kind}", total=len(missing), verbose=1):
        pass
    for s in range(seed, seed + n):
        yield joblib.load(place(s))


def _path(kind, seed, cache):
    finder = sha256(find_pretrained(FINDER).read_bytes()).hexdigest()[:12]
    settings = sha256(repr(KINDS[kind]).encode()).hexdigest()[:8]
    return cache / f"sky-{kind.replace(' ', '-').replace(',', '')}-{seed}-{settings}-{finder}.joblib"


@lru_cache(maxsize=2)
def _simulator(kind, data):
    return simulator(KINDS[kind].base, data, **KINDS[kind].changes)


@lru_cache(maxsize=1)
def _other_template(kind, data):
    """Photons that the model expects of which the sky was not made."""
    changes = dict(KINDS[kind].changes)
    if "diffuse" in changes:
        del changes["diffuse"]
    else:
        changes["diffuse"] = None
    other = simulator(KINDS[kind].base, data, population=None, perturb=None, **changes)
    return other.sample(1, 0)[0].background


def _make(seed, kind, data, cache):
    chosen = KINDS[kind]
    ((total, years),) = _simulator(kind, data).sample_yearly(random_state=seed)
    if kind in _UNEVEN:
        total, years = _uneven(total, years, _UNEVEN[kind], np.random.default_rng(seed))
    if chosen.template != "right":
        background = _other_template(kind, data) if chosen.template == "wrong" else None
        total.background = background
        for year in years:
            year.background = None if background is None else background / np.float32(len(years))
    seen_by_finder = total
    if chosen.groups is not None:
        seen_by_finder = total.rebin(groups=[list(group) for group in chosen.groups])
        seen_by_finder.sources = total.sources
    pixel_size = None if chosen.nside is None else hp.nside2resol(chosen.nside)
    years = years if chosen.yearly else [total]
    seen, labels, catalogue = look_at_maps(seen_by_finder, years, pixel_size)
    sources = total.sources[total.sources["significance"] >= _FAINTEST]
    sky = Sky(
        seen,
        labels,
        class_of_faint(catalogue, labels, sources),
        _plain(catalogue, "probability", "significance"),
        _plain(sources, "class", "significance", "extension"),
    )
    # mostly zeros: a tenth of the size
    atomic_write(lambda path: joblib.dump(sky, path, compress=1), _path(kind, seed, cache), overwrite=True)


def _uneven(total, years, scatter, rng):
    """The same sky with years of different exposure, from which the photons that are too many are taken away."""
    kept = 1 + scatter * rng.normal(size=len(years))
    kept /= kept.max()
    thinned = [
        SkyMap(rng.binomial(year.data.astype(np.int64), share).astype(np.float32), nest=year.nest, psf=year.psf,
               energy_edges=year.energy_edges, exposure=year.exposure * share, background=year.background * share)
        for year, share in zip(years, kept, strict=True)
    ]  # fmt: skip
    summed = stack_maps(thinned)
    summed.sources = total.sources
    return summed, thinned


def class_of_faint(catalogue, labels, sources):
    """
    Labels in which detections of faint sources have the class of that source.

    Parameters
    ----------
    catalogue : Table
    labels : array of str, shape (n,)
        As `true_classes` gives them.
    sources : Table
        With ``coord``, ``class`` and ``significance``.

    Returns
    -------
    array of str, shape (n,)
    """
    out, faint = labels.copy(), labels == FAINT
    if faint.any():
        weak = sources[sources["significance"] < _SIGNIFICANT]
        own = true_classes(catalogue[faint], weak, min_significance=_FAINTEST)
        out = out.astype(np.result_type(out, own))
        out[faint] = own
    return out


def _plain(table, *names):
    coord = table["coord"].galactic
    columns = {"l": coord.l.deg, "b": coord.b.deg}
    return Table(columns | {name: np.asarray(getattr(table[name], "value", table[name])) for name in names})
