"""What the benchmarks of morphology share: the measured weights, fresh fields, and the published network."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from astrolearn import MorphologySegmenter
from astrolearn.core.weights import find_pretrained
from astrolearn.morphology.scenes import GalaxySceneSimulator

__all__ = ["STRIDE", "Context", "fresh_scenes"]

_SEED = 6100
_SHAPE = (512, 512)
STRIDE = 8
"""Of the published network's windows, where the benchmarks have many fields."""


def fresh_scenes(n, seed):
    """Simulated fields with twice the density of the sky, so that sources are many, and all noise levels."""
    return GalaxySceneSimulator(shape=_SHAPE, density=400.0).sample(n, seed)


@dataclass
class Context:
    """
    What the benchmarks share.

    Attributes
    ----------
    segmenter : MorphologySegmenter
        The one that is measured.
    weights : dict
        Its name and SHA-256.
    data, cache : `pathlib.Path`
        Folders of the real data, and of the peers that were trained.
    n_scenes : int
        Fresh fields.
    """

    segmenter: MorphologySegmenter
    weights: dict
    data: Path
    cache: Path
    n_scenes: int = 60

    @classmethod
    def of(cls, weights, data, cache, scenes=None):
        """Context of a weight file, or of the shipped one."""
        path = Path(weights) if weights else Path(find_pretrained("hst-simulated"))
        named = {"name": path.stem, "sha256": sha256(path.read_bytes()).hexdigest()}
        sizes = {} if scenes is None else {"n_scenes": scenes}
        return cls(MorphologySegmenter.load(path), named, Path(data), Path(cache), **sizes)

    @cached_property
    def scenes(self):
        """Fresh fields that nothing was chosen on."""
        return fresh_scenes(self.n_scenes, _SEED)

    @cached_property
    def morpheus(self):
        """The published network, or None where its weights are not at hand."""
        path = self.data / "morphology" / "morpheus_weights.npz"
        if not path.is_file():
            return None
        return MorphologySegmenter.from_morpheus(path, stride=STRIDE)
