"""Simulated Fermi-LAT skies: instrument response, diffuse emission, source populations and the simulator."""

from .diffuse import DiffusePerturbation, GalacticTemplate
from .instrument import lat_exposure, lat_psf
from .population import SourcePopulation
from .simulation import LATSkySimulator

__all__ = ["DiffusePerturbation", "GalacticTemplate", "LATSkySimulator", "SourcePopulation", "lat_exposure", "lat_psf"]
