"""The benchmarks of morphology, in the order in which they run."""

from benchmarks.morphology import real, simulated, speed
from benchmarks.morphology.context import Context
from benchmarks.suite import run_benchmarks

__all__ = ["BENCHMARKS", "run"]

BENCHMARKS = {
    "morphology-simulated": simulated.simulated,
    "morphology-real": real.real,
    "morphology-windows": real.strides,
    "morphology-speed": speed.speed,
}


def run(options):
    """Run the benchmarks named in ``options.only``, or all, and write what they found."""
    run_benchmarks(
        BENCHMARKS, options.only, lambda: Context.of(options.weights, options.data, options.cache, options.skies)
    )
