"""Geometry on the sphere: maps in energy bins, their files, regions, and the matching of catalogues."""

from .psf import RadialPSF
from .skymap import SkyMap

__all__ = ["RadialPSF", "SkyMap"]
