"""What kind of gamma-ray source a detection is: labels, truth, counterparts, and what `SourceClassifier` is made of."""

from .counterparts import add_counterparts, read_reference
from .labels import clean_labels
from .truth import true_classes

__all__ = ["add_counterparts", "clean_labels", "read_reference", "true_classes"]
