"""The benchmarks of source counts, in the order in which they run."""

from benchmarks.counts import choices, comparison
from benchmarks.counts.context import Context
from benchmarks.suite import run_benchmarks

__all__ = ["BENCHMARKS", "run"]

BENCHMARKS = {
    "counts-emu": comparison.emu,
    "counts-coverage": comparison.coverage,
    "counts-deep": comparison.deep,
    "counts-choices": choices.choices,
}


def run(options):
    """Run the benchmarks named in ``options.only``, or all, and write what they found."""
    run_benchmarks(
        BENCHMARKS, options.only, lambda: Context.of(options.weights, options.data, options.cache, options.skies)
    )
