"""Time and memory for a large image: each finder in a process of its own.

Run as a script, this module is that process: ``python -m benchmarks.optical.speed FINDER WEIGHTS CORES`` prints one
line of JSON.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from astrolearn import PointSourceFinder
from astrolearn.sources.optical import Artefacts, MoffatPSF, StarFieldSimulator
from benchmarks.optical.fields import SEED
from benchmarks.optical.peers import OURS, run_blobs, run_dao, run_sep
from benchmarks.report import ROOT, Report

__all__ = ["speed"]

_CORES, _SIDE, _N_STARS = 2, 4096, 32_000
_SETTINGS = {"sep": (run_sep, (0.95, 1e-4)), "DAOStarFinder": (run_dao, (2.5,)), "blob_log": (run_blobs, (1.3,))}


def speed(context):
    """Wall time and peak memory."""
    report = Report(
        "optical-speed",
        "Time and memory for a large optical image",
        f"One simulated image of {_SIDE} x {_SIDE} pixels and {_N_STARS} stars 3 pixels wide (seed {SEED}), from the "
        f"image in memory to the catalogue, first call, one process per finder, {_CORES} cores. Processor seconds "
        "are those of all threads. The peak is that of the whole process, libraries and the image (0.07 GB) included.",
    )
    rows = []
    for name, cores in ((OURS, _CORES), (OURS, 1), *((peer, 1) for peer in _SETTINGS)):
        path = str(Path(context.path).resolve())
        command = [sys.executable, "-m", "benchmarks.optical.speed", name, path, str(cores)]
        environment = os.environ | {"OMP_NUM_THREADS": str(cores)}
        done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
        result = json.loads(done.stdout.splitlines()[-1])
        report.numbers[f"{name}, {cores} threads"] = result
        rows.append([name, str(cores), f"{result['seconds']:.1f}", f"{result['processor_seconds']:.1f}",
                     f"{result['peak_gb']:.2f}", result["n_detections"]])
    header = ["finder", "threads", "seconds", "processor seconds", "peak memory [GB]", "detections"]
    report.table("Time and memory", header, rows)
    return report


def _child(name, weights, cores):
    """Measure one finder in this process."""
    path = Path(weights)
    artefacts = Artefacts(cosmic_rays=1600, trails=2, full_well=1000)
    simulator = StarFieldSimulator((_SIDE, _SIDE), n_stars=_N_STARS, psf=MoffatPSF(3.0), artefacts=artefacts)
    image = _in_a_process(simulator)
    torch.set_num_threads(int(cores))
    finder = PointSourceFinder.load(path) if name == OURS else None
    start = time.perf_counter(), time.process_time()
    if name == OURS:
        found = finder.predict(image)
    else:
        run, options = _SETTINGS[name]
        found = run(image, image.meta["fwhm"], *options)
    print(json.dumps({
        "seconds": time.perf_counter() - start[0],
        "processor_seconds": time.process_time() - start[1],
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "n_detections": len(found),
    }))


def _in_a_process(simulator):
    """An image, simulated elsewhere: what that takes does not count."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_simulate, simulator).result()


def _simulate(simulator):
    (image,) = simulator.sample(random_state=SEED)
    image.data = np.asarray(image.data, dtype=np.float32)
    return image


if __name__ == "__main__":
    _child(*sys.argv[1:])
