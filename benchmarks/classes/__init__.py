"""Benchmarks of the classes of gamma-ray sources."""
