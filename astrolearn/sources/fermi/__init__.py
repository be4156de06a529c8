"""Simulated Fermi-LAT skies: instrument response, diffuse emission, source populations and the simulator."""

from .diffuse import GalacticTemplate
from .fields import DiffusePerturbation
from .galactic import GalacticModel
from .instrument import lat_exposure, lat_psf
from .population import SourcePopulation
from .significance import AsimovSignificance
from .simulation import LATSkySimulator
from .variability import light_curves

__all__ = ["AsimovSignificance", "DiffusePerturbation", "GalacticModel", "GalacticTemplate", "LATSkySimulator",
           "SourcePopulation", "lat_exposure", "lat_psf", "light_curves"]
