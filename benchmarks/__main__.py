"""Command line: ``python -m benchmarks [SUITE] [--only NAME ...]``."""

import argparse
import os
import time

from benchmarks.report import ROOT

_DATA = os.environ.get("ASTROLEARN_DATA", ROOT.parent / "shared" / "data")


def _fermi(options):
    from benchmarks.fermi.run import run

    run(options)


def _simulator(options):
    from benchmarks.simulator import run

    run(options.data)


def _emri(options):
    from benchmarks.emri.run import run

    run(options)


def _photoz(options):
    from benchmarks.photoz.run import run

    run(options)


def _counts(options):
    from benchmarks.counts.run import run

    run(options)


def _morphology(options):
    from benchmarks.morphology.run import run

    run(options)


def _optical(options):
    from benchmarks.optical.run import run

    run(options)


def _classes(options):
    from benchmarks.classes.run import run

    run(options)


SUITES = {
    "simulator": _simulator, "fermi": _fermi, "emri": _emri, "photoz": _photoz, "counts": _counts,
    "morphology": _morphology, "optical": _optical, "classes": _classes,
}  # fmt: skip


def main():
    """Run the benchmarks that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suite", nargs="?", choices=SUITES, help="default: all of them")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="run these benchmarks of the suite only")
    parser.add_argument("--weights", help="weight file to measure instead of the shipped one")
    parser.add_argument("--data", default=_DATA, help="folder of the real data (environment: ASTROLEARN_DATA)")
    parser.add_argument("--skies", type=int, help="simulated skies or signals, instead of each one's own number")
    parser.add_argument("--cache", default=ROOT / "benchmarks" / "cache", help="folder of the trained peers")
    parser.add_argument("--training", help="folder of the skies of fermi-lat-classes' training, as its recipe leaves "
                        "them; default: made anew in the cache, which takes half an hour")
    start = time.perf_counter()
    options = parser.parse_args()
    for name, suite in SUITES.items():
        if options.suite in (None, name):
            suite(options)
    print(f"done in {time.perf_counter() - start:.0f} s; see docs/benchmarks")


if __name__ == "__main__":
    main()
