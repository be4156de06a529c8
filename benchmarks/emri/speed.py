"""How many waveforms a CPU-second gives, beside fastemriwaveforms, and how long a detection takes."""

import time

import astropy.units as u
import numpy as np
import torch

from astrolearn.emri import EMRIPopulation, analytic_kludge, project
from astrolearn.emri.few import few_waveform
from astrolearn.emri.noise import whiten, whitening_filter
from astrolearn.emri.parameters import Inspirals
from benchmarks.report import Report

__all__ = ["speed"]

SEED = 41
_N_SAMPLES = 262144
_BATCH = 16
_REPEATS, _REPEATS_OF_FEW = 5, 3


def _inspirals():
    """Sixteen inspirals with eccentricities up to 0.5 that do not plunge within the data."""
    rng = np.random.default_rng(SEED)
    n = _BATCH
    return {
        "mass_1": np.full(n, 1e6) * u.Msun, "mass_2": np.full(n, 10) * u.Msun, "spin": rng.uniform(0, 0.9, n),
        "p0": rng.uniform(10, 14, n), "e0": np.linspace(0.05, 0.5, n), "distance": np.ones(n) * u.Gpc,
    } | {name: rng.uniform(0.1, 3, n) * u.rad for name in (
        "inclination", "gamma0", "phase0", "theta_S", "phi_S", "theta_K", "phi_K", "alpha0")}


def _cpu_seconds(function, repeats=_REPEATS):
    """CPU-seconds per waveform of each repeat, after a first call, which compiles and fills caches."""
    function()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        seconds.append((time.process_time() - start) / _BATCH)
    return np.array(seconds)


def _whitened(table, augmented=False, device="cpu"):
    h = project(*analytic_kludge(table, _N_SAMPLES, augmented=augmented, device=device), table, "tianqin")
    return whiten(h, whitening_filter(_N_SAMPLES, 30.0, "tianqin"))


def speed(context):
    """CPU time of waveforms, and wall time of a detection."""
    report = Report(
        "emri-speed",
        "Time for waveforms and detections",
        f"Batches of {_BATCH} waveforms, 2 x {_N_SAMPLES} samples, 1e6 solar masses, e up to 0.5 (seed {SEED}); "
        f"process time per waveform on one thread, mean and standard deviation of {_REPEATS} batches after "
        f"a first ({_REPEATS_OF_FEW} of fastemriwaveforms).",
    )
    torch.set_num_threads(1)
    table = _inspirals()
    ours = {
        "analytic kludge, float32": lambda: analytic_kludge(table, _N_SAMPLES, device="cpu"),
        "analytic kludge, float64": lambda: analytic_kludge(table, _N_SAMPLES, device="cpu", dtype=torch.float64),
        "augmented kludge, float32": lambda: analytic_kludge(table, _N_SAMPLES, device="cpu", augmented=True),
        "analytic kludge, response and whitening, float32": lambda: _whitened(table),
        "augmented kludge, response and whitening, float32": lambda: _whitened(table, augmented=True),
    }
    inspirals = Inspirals.from_table(table)
    reference = _cpu_seconds(lambda: few_waveform(inspirals, _N_SAMPLES, 30.0), _REPEATS_OF_FEW)
    rows = [["fastemriwaveforms, Pn5AAKWaveform", f"{reference.mean():.3f} ± {reference.std():.3f}",
             f"{1 / reference.mean():.1f}", "1"]]
    report.numbers["fastemriwaveforms"] = reference
    for name, function in ours.items():
        seconds = _cpu_seconds(function)
        rows.append([name, f"{seconds.mean():.4f} ± {seconds.std():.4f}", f"{1 / seconds.mean():.0f}",
                     f"{reference.mean() / seconds.mean():.1f}"])
        report.numbers[name] = seconds
    report.table(
        "CPU-seconds per waveform",
        ["waveform", "CPU-seconds", "waveforms per CPU-second", "times as fast as fastemriwaveforms"],
        rows,
    )
    report.text(
        "The models differ: that of fastemriwaveforms follows fluxes of fifth post-Newtonian order, ours "
        "Peters-Mathews orbits (analytic kludge) or Kerr geodesics with fluxes of second order (augmented). All sum "
        "30 e harmonics."
    )
    _on_gpu(report, table)
    _detection(report, context)
    return report


def _on_gpu(report, table):
    """Wall time on a GPU, where there is one."""
    if not torch.cuda.is_available():
        report.text("On a GPU: not measured, for want of one.")
        return

    def run():
        _whitened(table, device="cuda")
        torch.cuda.synchronize()

    run()
    start = time.perf_counter()
    for _ in range(_REPEATS):
        run()
    rate = _REPEATS * _BATCH / (time.perf_counter() - start)
    name = torch.cuda.get_device_name()
    report.numbers[f"waveforms per second, response and whitening included, {name}"] = rate
    report.text(f"On one {name}: {rate:.0f} waveforms per second, response and whitening included.")


def _detection(report, context):
    """Wall time of one series on both cores."""
    rng = np.random.default_rng(SEED)
    (signal,) = EMRIPopulation(snr=30).sample(1, SEED)["signal"]
    x = rng.standard_normal((12, 2, _N_SAMPLES), dtype=np.float32) + signal
    torch.set_num_threads(2)
    rows = []
    for name, detector in context.detectors().items():
        detector.decision_function(x[:1])
        seconds = []
        for one in x:
            start = time.perf_counter()
            detector.decision_function(one[None])
            seconds.append(time.perf_counter() - start)
        rows.append([name, f"{1e3 * np.mean(seconds):.0f} ± {1e3 * np.std(seconds):.0f}"])
        report.numbers[f"detection {name}"] = seconds
    torch.set_num_threads(1)
    report.table("Milliseconds for one series of three months on two cores", ["architecture", "ms"], rows)
