"""Galaxies per second, for each kind of input."""

import time

import numpy as np
import torch

from astrolearn import PhotoZRegressor
from astrolearn.photoz.stamps import simulate_stamps
from benchmarks.photoz.data import BANDS, jpgs, main_galaxies
from benchmarks.report import Report

__all__ = ["speed"]

_N_TABLE, _N_IMAGES, _REPEATS = 20_000, 500, 3


def speed(context):
    """Throughput of prediction."""
    table, redshift, _, _ = main_galaxies(context.data)
    report = Report(
        "photoz-speed",
        "Speed of redshifts",
        f"Prediction in memory, {_REPEATS} times each, on {torch.get_num_threads()} threads of two cores: "
        f"{_N_TABLE} rows with the shipped weights, {_N_IMAGES} images with networks trained for one epoch.",
    )
    rng = np.random.default_rng(0)
    images = simulate_stamps(np.stack([table[band].value for band in BANDS], 1)[:_N_IMAGES], random_state=rng)
    target = redshift[:_N_IMAGES]
    pictures, _ = jpgs(context.data)
    pictures = pictures[np.arange(_N_IMAGES) % len(pictures)]
    both = {"table": table[:_N_IMAGES], "images": images}
    quick = {"max_epochs": 1, "random_state": 0}
    talk = PhotoZRegressor(architecture="menko2024", image_size=None, **quick)
    cases = {
        "table, 5 bands with errors": (context.regressor, table[rng.integers(len(table), size=_N_TABLE)]),
        "images, 5 x 32 x 32": (PhotoZRegressor(**quick).fit(images[:200], target[:200]), images),
        "table and images": (PhotoZRegressor(**quick).fit(both, target), both),
        "pictures, 3 x 64 x 64 of 128 x 128": (PhotoZRegressor(**quick).fit(pictures[:200], target[:200]), pictures),
        "menko2024, 3 x 128 x 128": (talk.fit(pictures[:100], target[:100]), pictures[:100]),
    }
    rows = []
    for name, (regressor, X) in cases.items():
        n = len(X["table"]) if isinstance(X, dict) else len(X)
        cells = []
        for method in ("predict", "predict_pdf", "predict_interval"):
            rates = []
            for _ in range(_REPEATS):
                start = time.perf_counter()
                getattr(regressor, method)(X)
                rates.append(n / (time.perf_counter() - start))
            report.numbers[f"{name}, {method}"] = rates
            cells.append(f"{np.mean(rates):.0f} ± {np.std(rates):.0f}")
        rows.append([name, *cells])
    report.table("Galaxies per second", ["input", "predict", "predict_pdf", "predict_interval"], rows)
    report.text("Images are seen from all eight sides, but for menko2024. The time to read files is not part of it.")
    return report
