"""Benchmarks of radio source counts."""
