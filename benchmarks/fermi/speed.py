"""Time and memory for a whole sky: each finder in a process of its own, on the same map.

Run as a script, this module is that process: ``python -m benchmarks.fermi.speed FINDER MAP WEIGHTS OPTIONS`` prints
one line of JSON.
"""

import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import astropy.units as u
import numpy as np
import torch

from astrolearn.sources.finder import PointSourceFinder
from benchmarks import tsmap
from benchmarks.fermi.finders import observation_of
from benchmarks.fermi.settings import TS_OPTIONS
from benchmarks.fermi.skies import SEED, skies
from benchmarks.report import ROOT, Report

__all__ = ["speed"]

_CORES = 2
_MAPS = {
    "nside 256, six bins": ("wide", {}),
    "nside 512, three bins": ("50", {"energy_edges": [10, 30, 100, 1000] * u.GeV}),
}
_TS_VARIANTS = {
    "Poisson TS map, as in the quality tables": None,
    "Poisson TS map, window of 90 % of the PSF, one trial per pixel": {"containment": 0.9, "finer": False},
    "Poisson TS map, window of 90 % of the PSF, four trials per pixel": {"containment": 0.9, "finer": True},
}


def speed(context):
    """Wall time and peak memory of the finder and of the TS map in three layouts."""
    report = Report(
        "speed",
        "Time and memory for a whole sky",
        f"One simulated ten-year sky per line (seed {SEED}), {_CORES} cores ({_processor()}), one process per "
        "finder, from the map in memory to the catalogue, first call.",
    )
    report.text(
        "The TS map here spends its time well: each trial position once, only the pixels under the PSF, Newton "
        "steps for all positions together, two processes. The peak is of the largest process."
    )
    for name, (kind, changes) in _MAPS.items():
        (sky,) = skies(kind, 1, context.data, **changes)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sky.pickle"
            path.write_bytes(pickle.dumps(sky))
            context.finder.save(Path(folder) / "finder.safetensors")
            variants = {"PointSourceFinder": {}} | {
                key: TS_OPTIONS[kind] if o is None else o for key, o in _TS_VARIANTS.items()
            }
            results = {
                key: _measure(key, path, Path(folder) / "finder.safetensors", options)
                for key, options in variants.items()
            }
        finder = results["PointSourceFinder"]["seconds"]
        report.table(
            name,
            ["finder", "seconds", "relative to the finder", "processor seconds", "peak memory [GB]", "detections"],
            [
                [
                    key,
                    f"{r['seconds']:.1f}",
                    f"{r['seconds'] / finder:.1f}",
                    f"{r['processor_seconds']:.1f}",
                    f"{r['peak_gb']:.2f}",
                    r["n_detections"],
                ]
                for key, r in results.items()
            ],
        )
        report.numbers[name] = results
    return report


def _measure(name, path, weights, options):
    command = [sys.executable, "-m", "benchmarks.fermi.speed", name, str(path), str(weights), json.dumps(options)]
    threads = str(_CORES if name == "PointSourceFinder" else 1)
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": threads}, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def _processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


def _child(name, path, weights, options):
    """Measure one finder in this process."""
    sky = pickle.loads(Path(path).read_bytes())
    if name == "PointSourceFinder":
        torch.set_num_threads(_CORES)
        finder = PointSourceFinder.load(weights)
        start = time.perf_counter(), time.process_time()
        found = finder.predict(sky)
    else:
        start = time.perf_counter(), time.process_time()
        found = tsmap.find_sources(observation_of(sky), n_jobs=_CORES, **json.loads(options))
    seconds, used = time.perf_counter() - start[0], time.process_time() - start[1]
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(
        json.dumps(
            {
                "seconds": seconds,
                "processor_seconds": used + others.ru_utime + others.ru_stime,
                "peak_gb": max(own.ru_maxrss, others.ru_maxrss) / 1e6,
                "n_detections": int(np.size(found["coord"])),
            }
        )
    )


if __name__ == "__main__":
    _child(*sys.argv[1:])
