"""The benchmarks of photometric redshifts, in the order in which they run."""

from benchmarks.photoz import choices, images, speed, tables
from benchmarks.photoz.context import Context
from benchmarks.suite import run_benchmarks

__all__ = ["BENCHMARKS", "run"]

BENCHMARKS = {
    "photoz-sdss": tables.main_galaxy_sample,
    "photoz-colours": tables.colours_25k,
    "photoz-lsst": tables.lsst,
    "photoz-choices": choices.choices,
    "photoz-jpg": images.metallicity,
    "photoz-stamps": images.stamps,
    "photoz-speed": speed.speed,
}


def run(options):
    """Run the benchmarks named in ``options.only``, or all, and write what they found."""
    run_benchmarks(BENCHMARKS, options.only, lambda: Context.of(options.weights, options.data))
