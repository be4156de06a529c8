"""How the benchmarks of a suite are run: all of them or some, one after the other, each writing its page."""

import sys
import time

__all__ = ["run_benchmarks"]


def run_benchmarks(benchmarks, only, make_context):
    """
    Run benchmarks and write what they found.

    Parameters
    ----------
    benchmarks : dict of str to callable
        From a context to a `benchmarks.report.Report`.
    only : sequence of str or None
        Names of those to run. Default: all.
    make_context : callable
        Makes what they share, among it ``weights``; called once the names are known to be right.
    """
    unknown = set(only or ()) - set(benchmarks)
    if unknown:
        sys.exit(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(benchmarks)}")
    context = make_context()
    for name, benchmark in benchmarks.items():
        if only and name not in only:
            continue
        start = time.perf_counter()
        benchmark(context).write(context.weights)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
