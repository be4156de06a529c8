"""Stars in optical images: simulated fields, and what `~astrolearn.PointSourceFinder` does with images."""

from .artefacts import Artefacts
from .fields import StarFieldSimulator
from .psf import EmpiricalPSF, MoffatPSF

__all__ = ["Artefacts", "EmpiricalPSF", "MoffatPSF", "StarFieldSimulator"]
