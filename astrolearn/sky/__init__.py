"""Geometry on the sphere: maps in energy bins, their files, regions, and the matching of catalogues."""

from .cutouts import CutoutExtractor
from .events import bin_events, bin_events_in_time, read_events
from .healpix_io import read_skymap, write_skymap
from .io import as_map, read_map
from .matching import Match, match, source_coords
from .psf import RadialPSF
from .regions_io import to_regions
from .responses import read_exposure, read_psf
from .skymap import SkyMap
from .stack import stack_maps
from .transformers import EnergyRebinner, RegionMask

__all__ = [
    "CutoutExtractor",
    "EnergyRebinner",
    "Match",
    "RadialPSF",
    "RegionMask",
    "SkyMap",
    "as_map",
    "bin_events",
    "bin_events_in_time",
    "match",
    "read_events",
    "read_exposure",
    "read_map",
    "read_psf",
    "read_skymap",
    "source_coords",
    "stack_maps",
    "to_regions",
    "write_skymap",
]
