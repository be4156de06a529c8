"""The finder and its peers on one map, from one and the same fitted background."""

import hashlib
import time
from dataclasses import dataclass, replace
from pathlib import Path

from astrolearn.core.weights import find_pretrained
from astrolearn.sources.background import fit_background
from astrolearn.sources.finder import PointSourceFinder
from astrolearn.sources.observation import observe

__all__ = ["FINDER", "TS_MAP", "Context", "observation_of", "run_finder", "run_peer"]

FINDER, TS_MAP = "PointSourceFinder", "Poisson TS map"
_PRETRAINED = "fermi-lat"
LONG_LIST = 0.02  # probability down to which detections are ranked


@dataclass
class Context:
    """
    What every benchmark is given.

    Attributes
    ----------
    finder : PointSourceFinder
    weights : dict
        ``name`` and ``sha256`` of its file.
    data : Path
        Folder of the real data.
    n_skies : int or None
        Simulated skies to use instead of each benchmark's own number.
    """

    finder: PointSourceFinder
    weights: dict
    data: Path
    n_skies: int | None = None

    @classmethod
    def of(cls, weights, data, n_skies=None):
        """Load a weight file, or the shipped one if ``weights`` is None."""
        path = Path(weights) if weights else find_pretrained(_PRETRAINED)
        finder = PointSourceFinder.load(path).set_params(verbose=0)
        return cls(
            finder, {"name": path.stem, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}, Path(data), n_skies
        )


def observation_of(skymap):
    """The map as the finder sees it, with the background that it fits: what peers are given."""
    observation = observe(skymap)
    return replace(observation, background=fit_background(observation))


def run_finder(finder, skymap, threshold=LONG_LIST, **parameters):
    """Detections with a column ``score``, the probability; and the seconds that it took."""
    start = time.perf_counter()
    own = finder.get_params()
    try:
        found = finder.set_params(threshold=threshold, **parameters).predict(skymap)
    finally:
        finder.set_params(**own)
    found["score"] = found["probability"]
    return found, time.perf_counter() - start


def run_peer(peer, skymap, **options):
    """Detections of a peer, and the seconds that it took, the fit of the background included."""
    start = time.perf_counter()
    found = peer(observation_of(skymap), **options)
    return found, time.perf_counter() - start
