"""The reference waveforms, the parameters that they were made with, and how alike two waveforms are."""

import json
from pathlib import Path

import numpy as np

from astrolearn.emri.parameters import GPC, MSUN

__all__ = ["kludge_table", "overlap", "read_reference"]

# The reference files were made with these constants (IAU values differ in the sixth digit).
_REFERENCE_MSUN = 6.67259e-11 * 1.98892e30 / 299792458.0**3
_REFERENCE_GPC = 3.0856775807e16 * 1e9 / 299792458.0


def overlap(a, b):
    """Normalised inner product of two series."""
    a, b = (np.asarray(x, dtype=float) for x in (a, b))
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


def read_reference(folder, name):
    """Arrays of a reference file, and the parameters of set A, from the folder of the data."""
    data = np.load(Path(folder) / "emri" / f"reference_{name}_A.npz")
    return data, json.loads(str(data["params"]))


def kludge_table(q):
    """The reference's parameters as columns, with the true anomaly turned into the mean one."""
    e, anomaly = q["e"], q["psi"]
    root = np.sqrt(1 - e * e)
    eccentric = np.arctan2(root * np.sin(anomaly), e + np.cos(anomaly))
    mean = eccentric - e * root * np.sin(anomaly) / (1 + e * np.cos(anomaly))
    return {
        "mass_1": q["M"] * _REFERENCE_MSUN / MSUN, "mass_2": q["mu"] * _REFERENCE_MSUN / MSUN, "spin": q["s"],
        "p0": q["p"], "e0": e, "inclination": q["iota"], "gamma0": q["gamma"], "phase0": mean,
        "theta_S": q["theta_S"], "phi_S": q["phi_S"], "theta_K": q["theta_K"], "phi_K": q["phi_K"],
        "alpha0": q["alpha"], "distance": q["D"] * _REFERENCE_GPC / GPC,
    }
