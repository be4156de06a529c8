"""The benchmarks of the gamma-ray source finder, in the order in which they run."""

import warnings

from benchmarks.fermi import calibration, choices, fluxes, real, robustness, speed
from benchmarks.fermi.finders import Context
from benchmarks.suite import run_benchmarks

__all__ = ["BENCHMARKS", "run"]

BENCHMARKS = {
    "choices": choices.choices,
    "real-2-20": real.two_to_twenty_gev,
    "real-50": real.above_50_gev,
    "talk": real.talk_tables,
    "fluxes": fluxes.by_flux,
    "calibration": calibration.calibration,
    "diffuse-models": robustness.diffuse_models,
    "localizers": robustness.localizers,
    "speed": speed.speed,
}


def run(options):
    """Run the benchmarks named in ``options.only``, or all, and write what they found."""
    warnings.filterwarnings("ignore", category=UserWarning, module="astropy")
    run_benchmarks(BENCHMARKS, options.only, lambda: Context.of(options.weights, options.data, options.skies))
