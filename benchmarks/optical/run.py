"""The benchmarks of stars in optical images, in the order in which they run."""

from benchmarks.optical import comparison, real, speed
from benchmarks.optical.context import Context
from benchmarks.suite import run_benchmarks

__all__ = ["BENCHMARKS", "run"]

BENCHMARKS = {
    "optical-stars": comparison.stars,
    "optical-elsewhere": comparison.elsewhere,
    "optical-calibration": comparison.calibration,
    "optical-real": real.real,
    "optical-speed": speed.speed,
}


def run(options):
    """Run the benchmarks named in ``options.only``, or all, and write what they found."""
    run_benchmarks(
        BENCHMARKS, options.only, lambda: Context.of(options.weights, options.data, options.cache, options.skies)
    )
