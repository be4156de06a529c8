"""The benchmarks of inspirals, in the order in which they run."""

import sys
import time

from benchmarks.emri import dephasing, detection, speed
from benchmarks.emri.context import Context

__all__ = ["BENCHMARKS", "run"]

BENCHMARKS = {
    "emri-waveforms": dephasing.dephasing,
    "emri-detection": detection.detection,
    "emri-groups": detection.groups,
    "emri-calibration": detection.calibration,
    "emri-curves": detection.curves,
    "emri-speed": speed.speed,
}


def run(options):
    """Run the benchmarks named in ``options.only``, or all, and write what they found."""
    unknown = set(options.only or ()) - set(BENCHMARKS)
    if unknown:
        sys.exit(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    context = Context.of(options.weights, options.data, options.cache, options.skies)
    for name, benchmark in BENCHMARKS.items():
        if options.only and name not in options.only:
            continue
        start = time.perf_counter()
        benchmark(context).write(context.weights)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
