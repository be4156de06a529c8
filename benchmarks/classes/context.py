"""What the benchmarks of source classes share: the measured weights, folders, and the skies of the training."""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from astrolearn.core.weights import find_pretrained
from astrolearn.recipes.fermi_lat_classes import training_skies
from astrolearn.sources.classifier import SourceClassifier
from benchmarks.fermi.skies import template

__all__ = ["JOBS", "Context"]

JOBS = 2
"""Processes, where they pay."""

_N_TRAINING = 56


@dataclass
class Context:
    """
    What every benchmark is given.

    Attributes
    ----------
    classifier : SourceClassifier
        The one that is measured.
    weights : dict
        Its name and SHA-256.
    data, cache : `pathlib.Path`
        Folders of the real data, and of skies and peers that were made once.
    training : `pathlib.Path`
        Folder of the skies of the training.
    n_skies : int or None
        Simulated skies to use instead of each benchmark's own number.
    """

    classifier: SourceClassifier
    weights: dict
    data: Path
    cache: Path
    training: Path
    n_skies: int | None = None

    @classmethod
    def of(cls, options):
        """Context of a weight file, or of the shipped one."""
        path = Path(options.weights) if options.weights else Path(find_pretrained("fermi-lat-classes"))
        named = {"name": path.stem, "sha256": sha256(path.read_bytes()).hexdigest()}
        cache = Path(options.cache) / "classes"
        training = Path(options.training) if options.training else cache / "training"
        for folder in (cache, training):
            folder.mkdir(parents=True, exist_ok=True)
        return cls(SourceClassifier.load(path), named, Path(options.data), cache, training, options.skies)

    def number(self, default):
        """How many skies."""
        return self.n_skies or default

    def training_skies(self, n=None):
        """
        Generate detections, None and labels of each sky of the training, or of the first ``n``.

        Those that are not in the folder are made, which takes long.
        """
        made = self.training / "training.json"
        n_made = json.loads(made.read_text())["n_skies"] if made.is_file() else _N_TRAINING
        yield from training_skies(n_made if n is None else n, template(self.data), folder=self.training, n_jobs=JOBS)
