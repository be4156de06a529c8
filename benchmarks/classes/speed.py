"""Seconds and memory to find and classify the sources of a sky, in a process of its own.

Run as a script, this module is that process: ``python -m benchmarks.classes.speed SKY WEIGHTS`` prints one line of
JSON.
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

import numpy as np
import torch

from astrolearn.recipes.fermi_lat_classes import FINDER
from astrolearn.sky import stack_maps
from astrolearn.sources.classes.detections import prepare
from astrolearn.sources.classifier import SourceClassifier
from astrolearn.sources.finder import PointSourceFinder
from benchmarks.classes.skies import KINDS, SEED
from benchmarks.fermi.skies import simulator
from benchmarks.report import ROOT, Report

__all__ = ["speed"]

_CORES = 2
_PARTS = {
    "sum of the years": "stack",
    "PointSourceFinder.predict": "find",
    "cutouts and features": "prepare",
    "network and calibration": "network",
    "find_and_classify, all of it": "all",
}


def speed(context):
    """Wall time of the parts, and peak memory."""
    report = Report(
        "classes-speed",
        "Time and memory for the classes of a sky",
        f"One simulated sky (seed {SEED}; ten yearly maps of FRONT+BACK photons, six bins, nside 256), "
        f"{_CORES} threads on a machine with {os.cpu_count()} cores, in a process of its own, from the maps in memory "
        "to the table of classes, first call.",
    )
    kind = KINDS["as trained"]
    ((_, years),) = simulator(kind.base, context.data, **kind.changes).sample_yearly(random_state=SEED)
    with tempfile.TemporaryDirectory() as folder:
        path, weights = Path(folder) / "sky.pickle", Path(folder) / "classifier.safetensors"
        with open(path, "wb") as file:
            pickle.dump(years, file)
        context.classifier.save(weights)
        del years
        whole, parts = (_measure(what, path, weights) for what in ("whole", "parts"))
    result = report.numbers["ten years, six bins, nside 256"] = parts | whole
    report.table("Parts of the work", ["", "seconds"],
                 [[text, f"{result[name]:.1f}"] for text, name in _PARTS.items()])  # fmt: skip
    report.text(
        f"There are {result['n_detections']} detections. The process took {result['peak_gb']:.2f} GB at most; "
        f"with the maps and the libraries loaded, before it began, {result['maps_gb']:.2f} GB. The parts were "
        "measured in another process than the whole, one after the other."
    )
    return report


def _measure(what, path, weights):
    command = [sys.executable, "-m", "benchmarks.classes.speed", what, str(path), str(weights)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": str(_CORES)}, check=True,
                          capture_output=True, text=True)  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def _memory():
    unit = 1024 if sys.platform != "darwin" else 1  # of ru_maxrss, in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _child(what, path, weights):
    """Measure in this process."""
    torch.set_num_threads(_CORES)
    with open(path, "rb") as file:  # not all at once, which would take the memory that is to be measured
        years = pickle.load(file)
    classifier, finder = SourceClassifier.load(weights), PointSourceFinder.from_pretrained(FINDER)
    times = [time.perf_counter()]

    def lap():
        times.append(time.perf_counter())
        return times[-1] - times[-2]

    if what == "whole":
        before = _memory()
        found = classifier.find_and_classify(years, finder)
        print(json.dumps({"all": lap(), "n_detections": int(np.size(found["coord"])), "maps_gb": before,
                          "peak_gb": _memory()}))  # fmt: skip
        return
    result = {}
    total = stack_maps(years)
    result["stack"] = lap()
    found = finder.predict(total)
    result["find"] = lap()
    seen = prepare(years, found["coord"], found["probability"], psf=None)
    result["prepare"] = lap()
    classifier.predict_proba(seen, None)
    result["network"] = lap()
    print(json.dumps(result))


if __name__ == "__main__":
    _child(*sys.argv[1:])
