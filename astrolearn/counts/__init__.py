"""Radio source counts: models and families of them, simulated skies and images, down to below the noise."""

from astrolearn.counts.catalogues import draw_catalogue
from astrolearn.counts.families import GaussianProcess, IndependentBins, MixedFamily, TalkFamily
from astrolearn.counts.fluctuations import fluctuation_analysis
from astrolearn.counts.instruments import Instrument, gaussian_beam_area, synthesised_psf
from astrolearn.counts.models import LOG_FLUX, CountModel, ReferenceCounts, read_counts, write_counts
from astrolearn.counts.pofd import deflection_probability
from astrolearn.counts.simulator import RadioSkySimulator

__all__ = [
    "LOG_FLUX",
    "CountModel",
    "GaussianProcess",
    "IndependentBins",
    "Instrument",
    "MixedFamily",
    "RadioSkySimulator",
    "ReferenceCounts",
    "TalkFamily",
    "deflection_probability",
    "draw_catalogue",
    "fluctuation_analysis",
    "gaussian_beam_area",
    "read_counts",
    "synthesised_psf",
    "write_counts",
]
