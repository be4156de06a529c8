"""The benchmarks of the gamma-ray source finder, in the order in which they run."""

import sys
import time
import warnings

from benchmarks.fermi import calibration, choices, fluxes, real, robustness, speed
from benchmarks.fermi.finders import Context

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
    unknown = set(options.only or ()) - set(BENCHMARKS)
    if unknown:
        sys.exit(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    warnings.filterwarnings("ignore", category=UserWarning, module="astropy")
    context = Context.of(options.weights, options.data, options.skies)
    for name, benchmark in BENCHMARKS.items():
        if options.only and name not in options.only:
            continue
        start = time.perf_counter()
        benchmark(context).write(context.weights)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
