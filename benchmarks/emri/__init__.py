"""Benchmarks of waveforms and detection of extreme-mass-ratio inspirals."""
