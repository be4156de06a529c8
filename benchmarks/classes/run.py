"""The benchmarks of the classes of gamma-ray sources, in the order in which they run."""

import warnings

from benchmarks.classes import choices, real, robustness, simulated, speed
from benchmarks.classes.context import Context
from benchmarks.suite import run_benchmarks

__all__ = ["BENCHMARKS", "run"]

BENCHMARKS = {
    "classes-simulated": simulated.simulated,
    "classes-choices": choices.choices,
    "classes-diffuse": robustness.diffuse,
    "classes-elsewhere": robustness.elsewhere,
    "classes-real": real.real,
    "classes-speed": speed.speed,
}


def run(options):
    """Run the benchmarks named in ``options.only``, or all, and write what they found."""
    warnings.filterwarnings("ignore", category=UserWarning, module="astropy")
    run_benchmarks(BENCHMARKS, options.only, lambda: Context.of(options))
