"""How the phase of the augmented kludge drifts from those of other programs, and what the order of the fluxes does."""

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.signal import hilbert

from astrolearn.emri import analytic_kludge
from astrolearn.emri.few import few_waveform
from astrolearn.emri.parameters import Inspirals
from benchmarks.emri.references import kludge_table, overlap, read_reference
from benchmarks.report import Report

__all__ = ["dephasing"]

_DAY = 2880  # samples at 30 s
_LENGTHS = {
    "first day": _DAY, "16384 samples (5.7 d)": 16384, "32768 samples (11 d)": 32768, "131072 samples (46 d)": 131072,
}


def dephasing(context):
    """Overlaps with the reference waveforms, and the difference of phases over 45 days."""
    report = Report(
        "emri-waveforms",
        "Waveforms beside those of other programs",
        "Reference inspiral A: 1e6 and 10 solar masses, spin 0.6, p0 = 12, e0 = 0.3; float64 unless said otherwise.",
    )
    read = {name: read_reference(context.data, name) for name in ("ak", "aak")}
    table = kludge_table(read["ak"][1])
    n = 131072
    kludge = {dtype: analytic_kludge(table, n, dtype=dtype, device="cpu")[0][0].double().numpy()
              for dtype in (torch.float32, torch.float64)}
    aak = analytic_kludge(table, n, augmented=True, dtype=torch.float64, device="cpu")[0][0].numpy()
    few = few_waveform(Inspirals.from_table(table), n, 30.0)[0][0].double().numpy()
    references = {name: data["h_plus"] for name, (data, _) in read.items()}
    pairs = {
        "analytic kludge, float64, and the reference": (kludge[torch.float64], references["ak"]),
        "analytic kludge, float32, and the reference": (kludge[torch.float32], references["ak"]),
        "augmented kludge and the reference": (aak, references["aak"]),
        "augmented kludge and fastemriwaveforms (5PN)": (aak, few),
        "reference augmented kludge and fastemriwaveforms (5PN)": (references["aak"], few),
    }
    rows = []
    for title, (a, b) in pairs.items():
        values = [overlap(a[:m], b[:m]) for m in _LENGTHS.values()]
        rows.append([title, *(f"{value:.7f}" if value > 0.99999 else f"{value:.4f}" for value in values)])
        report.numbers[title] = dict(zip(_LENGTHS, values, strict=True))
    report.table("Overlaps of the plus polarisation", ["waveforms", *_LENGTHS], rows)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    days = np.arange(n) * 30 / 86400
    for title in list(pairs)[2:]:
        a, b = pairs[title]
        difference = np.unwrap(np.angle(hilbert(a) * np.conj(hilbert(b))))
        # the instantaneous phase of a sum of harmonics wobbles
        smooth = np.convolve(difference, np.ones(_DAY) / _DAY, "same")
        axes.plot(days[_DAY:-_DAY], smooth[_DAY:-_DAY], label=title)
    axes.set(xlabel="time (d)", ylabel="difference of phase (rad)")
    axes.axhline(0, color="0.7", lw=0.5)
    axes.legend(frameon=False, fontsize="small")
    caption = "Difference of the phases of the plus polarisation, as running means over a day."
    report.figure("emri-dephasing", figure, caption)
    report.text(
        "All augmented kludges begin with the same frequencies, those of the Kerr geodesic, and so the same phase; it "
        "drifts away as the square of time, because the frequencies change at rates that differ: our fluxes are of "
        "second post-Newtonian order (Gair & Glampedakis 2006), those of fastemriwaveforms of fifth."
    )
    return report
