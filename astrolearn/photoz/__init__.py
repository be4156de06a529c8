"""Photometric redshifts: from magnitudes, fluxes and images of galaxies to the probability of every redshift."""

from astrolearn.photoz import metrics
from astrolearn.photoz.cutouts import fetch_sdss_cutouts
from astrolearn.photoz.duplicates import DuplicateWarning, check_duplicates, object_groups
from astrolearn.photoz.regressor import PhotoZRegressor
from astrolearn.photoz.sdss import fetch_sdss_galaxies
from astrolearn.photoz.stamps import simulate_stamps
from astrolearn.sky.cutouts import CutoutExtractor

__all__ = [
    "CutoutExtractor",
    "DuplicateWarning",
    "PhotoZRegressor",
    "check_duplicates",
    "fetch_sdss_cutouts",
    "fetch_sdss_galaxies",
    "metrics",
    "object_groups",
    "simulate_stamps",
]
