"""Seconds and memory for images of any size."""

import copy
import os
import subprocess
import sys
import time

import numpy as np
import torch

from astrolearn.morphology.morpheus import WINDOW
from astrolearn.morphology.scenes import GalaxySceneSimulator
from astrolearn.morphology.windows import count_windows
from benchmarks.report import ROOT, Report

__all__ = ["speed"]

_SIDE, _LARGE, _REPEATS = 1024, 4096, 3
_WINDOWS_SIDE = 90  # (90 - 39)^2: 2601 windows at a stride of 1


def speed(context):
    """Our network in one pass, Morpheus' windows extrapolated, and a large image in a process of its own."""
    scene = GalaxySceneSimulator(shape=(_SIDE, _SIDE)).sample(1, 6400)[0]
    images = scene.images
    threads = torch.get_num_threads()
    report = Report(
        "morphology-speed",
        "Speed of morphology",
        f"A simulated field of {_SIDE} x {_SIDE} pixels in four bands, with the sky's own number of sources, on "
        f"{threads} threads of a machine with {os.cpu_count()} cores; {_REPEATS} runs each.",
    )
    corner = {band: image[:_WINDOWS_SIDE, :_WINDOWS_SIDE] for band, image in images.items()}
    windows = count_windows((_WINDOWS_SIDE,) * 2, 1)
    morpheus = copy.deepcopy(context.morpheus).set_params(stride=1)
    times = {"probabilities": [], "catalogue": [], "windows": []}
    context.segmenter.predict_proba(images)
    morpheus.predict_proba(corner)
    for _ in range(_REPEATS):
        for name, run in (("probabilities", lambda: context.segmenter.predict_proba(images)),
                          ("catalogue", lambda: context.segmenter.analyze(images)),
                          ("windows", lambda: morpheus.predict_proba(corner))):  # fmt: skip
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    all_windows = count_windows((_SIDE,) * 2, 1)
    extrapolated = np.array(times["windows"]) * all_windows / windows
    ratio = extrapolated / np.array(times["probabilities"])
    report.numbers |= {"seconds": times, "windows": windows, "extrapolated": extrapolated, "ratio": ratio}

    def cell(values, digits=2):
        return f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}"

    own_memory = 4 * _LARGE**2 * 4 / 1e9
    large = report.numbers["large"] = {method: _large(context, method) for method in ("predict_proba", "analyze")}
    report.table("Seconds", ["", "seconds"], [
        ["MorphologySegmenter, class probabilities", cell(times["probabilities"])],
        ["MorphologySegmenter, probabilities, segments and catalogue", cell(times["catalogue"])],
        [f"Morpheus, published weights, stride 1, extrapolated from {windows} windows to {all_windows}",
         cell(extrapolated, 0)],
        ["ratio of the last to the first", cell(ratio, 0)],
        *([f"MorphologySegmenter, {text}, {_LARGE} x {_LARGE} pixels", f"{large[method][0]:.1f}"]
          for method, text in (("predict_proba", "probabilities"),
                               ("analyze", "probabilities, segments and catalogue"))),
    ])  # fmt: skip
    report.text(
        f"Morpheus at a stride of 1 was not run on the whole image: {windows} windows of {WINDOW} x {WINDOW} pixels "
        "were, with the votes they give, in the same run, and their time was multiplied. The large image is that field "
        f"repeated, in processes of their own, whose memory grew to {large['predict_proba'][1]:.2f} GB for "
        f"probabilities and {large['analyze'][1]:.2f} GB with the catalogue; of this the four images themselves take "
        f"{own_memory:.2f} GB and the five probabilities {5 * _LARGE**2 * 4 / 1e9:.2f} GB."
    )
    return report


def _large(context, method):
    """Seconds and peak memory (GB) of a large image, in a process of its own."""
    code = (
        "import resource, sys, time\nimport numpy as np\nfrom astrolearn import MorphologySegmenter\n"
        "from astrolearn.morphology import GalaxySceneSimulator\n"
        "segmenter = MorphologySegmenter.load(sys.argv[1])\n"
        f"(scene,) = GalaxySceneSimulator(shape=({_SIDE}, {_SIDE})).sample(1, 6400)\n"
        f"images = {{band: np.tile(image.data, ({_LARGE // _SIDE}, {_LARGE // _SIDE}))\n"
        "          for band, image in scene.images.items()}\n"
        f"start = time.perf_counter()\nsegmenter.{method}(images)\n"
        "print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    path = context.cache / "morphology-speed.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    context.segmenter.save(path, overwrite=True)
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=True, capture_output=True, text=True)
    seconds, memory = map(float, done.stdout.split())
    unit = 1024 if sys.platform != "darwin" else 1  # of ru_maxrss, in bytes
    return seconds, memory * unit / 1e9
