"""The benchmarks of inspirals, in the order in which they run."""

from benchmarks.emri import dephasing, detection, speed
from benchmarks.emri.context import Context
from benchmarks.suite import run_benchmarks

__all__ = ["BENCHMARKS", "run"]

BENCHMARKS = {
    "emri-waveforms": dephasing.dephasing,
    "emri-detection": detection.detection,
    "emri-groups": detection.groups,
    "emri-calibration": detection.calibration,
    "emri-other-series": detection.other_series,
    "emri-curves": detection.curves,
    "emri-speed": speed.speed,
}


def run(options):
    """Run the benchmarks named in ``options.only``, or all, and write what they found."""
    run_benchmarks(
        BENCHMARKS, options.only, lambda: Context.of(options.weights, options.data, options.cache, options.skies)
    )
