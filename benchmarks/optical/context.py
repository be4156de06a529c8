"""What the benchmarks of optical images share: the measured weights and the data."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from astrolearn import PointSourceFinder
from astrolearn.core.weights import find_pretrained

__all__ = ["Context"]


@dataclass
class Context:
    """
    What the benchmarks share.

    Attributes
    ----------
    finder : PointSourceFinder
        The one that is measured.
    path : `pathlib.Path`
        Its file.
    weights : dict
        Its name and SHA-256.
    data : path-like
        Folder of the real data.
    cache : `pathlib.Path`
        Folder of the peers' settings.
    n_fields : int
        Simulated images of each kind.
    """

    finder: PointSourceFinder
    path: Path
    weights: dict
    data: Path
    cache: Path
    n_fields: int = 5

    @classmethod
    def of(cls, weights, data, cache, n_fields=None):
        """Context of a weight file, or of the shipped one."""
        path = Path(weights) if weights else Path(find_pretrained("optical-stars"))
        named = {"name": path.stem, "sha256": sha256(path.read_bytes()).hexdigest()}
        return cls(PointSourceFinder.load(path), path, named, Path(data), Path(cache), n_fields or cls.n_fields)
