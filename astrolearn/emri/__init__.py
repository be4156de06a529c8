"""
Gravitational waves of extreme-mass-ratio inspirals in TianQin and LISA: waveforms, response, noise and detection.

A stellar black hole that spirals into a massive one radiates for years in the millihertz band. This package computes
such waves (`analytic_kludge`), what a detector makes of them (`project`, `noise_psd`, `Whitener`), populations of them
(`EMRIPopulation`), and finds them in noise (`track_statistic`, `EMRIDetector`).
"""

from astrolearn.emri.detector import EMRIDetector
from astrolearn.emri.noise import Whitener, noise_psd
from astrolearn.emri.population import EMRIPopulation
from astrolearn.emri.response import project
from astrolearn.emri.tracks import track_statistic
from astrolearn.emri.waveforms import analytic_kludge

__all__ = [
    "EMRIDetector",
    "EMRIPopulation",
    "Whitener",
    "analytic_kludge",
    "noise_psd",
    "project",
    "track_statistic",
]
