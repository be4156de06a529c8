"""Morphology of galaxies pixel by pixel: simulated fields, and what is known of their pixels and sources."""

from astrolearn.morphology.hst import Band
from astrolearn.morphology.scenes import PIXEL_CLASSES, GalaxySceneSimulator, Scene

__all__ = ["PIXEL_CLASSES", "Band", "GalaxySceneSimulator", "Scene"]
