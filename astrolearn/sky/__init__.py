"""Geometry on the sphere: maps in energy bins, their files, regions, and the matching of catalogues."""

from .events import bin_events
from .healpix_io import read_skymap, write_skymap
from .io import as_map, read_map
from .psf import RadialPSF
from .responses import read_exposure, read_psf
from .skymap import SkyMap

__all__ = [
    "RadialPSF",
    "SkyMap",
    "as_map",
    "bin_events",
    "read_exposure",
    "read_map",
    "read_psf",
    "read_skymap",
    "write_skymap",
]
