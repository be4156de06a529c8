"""Deep-learning estimators for astronomy: scikit-learn's interface, astropy's units and tables."""

from importlib import import_module
from importlib.metadata import version

__version__ = version("astrolearn")

# Names load on first use (Scientific Python's SPEC 1): torch, skorch, healpy and photutils together take seconds.
_HOMES = {
    "EMRIDetector": "astrolearn.emri.detector",
    "MorphologySegmenter": "astrolearn.morphology.segmenter",
    "PhotoZRegressor": "astrolearn.photoz.regressor",
    "PointSourceFinder": "astrolearn.sources.finder",
    "SourceClassifier": "astrolearn.sources.classifier",
    "SourceCountRegressor": "astrolearn.counts.regressor",
    "list_pretrained": "astrolearn.core.weights",
}

__all__ = [
    "EMRIDetector", "MorphologySegmenter", "PhotoZRegressor", "PointSourceFinder", "SourceClassifier",
    "SourceCountRegressor", "__version__", "list_pretrained",
]  # fmt: skip


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
