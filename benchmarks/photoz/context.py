"""What the benchmarks of redshifts share: the measured weights and the data."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from astrolearn import PhotoZRegressor
from astrolearn.core.weights import find_pretrained

__all__ = ["Context"]


@dataclass
class Context:
    """
    What the benchmarks share.

    Attributes
    ----------
    regressor : PhotoZRegressor
        The one that is measured.
    weights : dict
        Its name and SHA-256.
    data : path-like
        Folder of the real data.
    """

    regressor: PhotoZRegressor
    weights: dict
    data: Path

    @classmethod
    def of(cls, weights, data):
        """Context of a weight file, or of the shipped one."""
        path = Path(weights) if weights else Path(find_pretrained("sdss-mgs-ugriz"))
        named = {"name": path.stem, "sha256": sha256(path.read_bytes()).hexdigest()}
        return cls(PhotoZRegressor.load(path), named, data)
