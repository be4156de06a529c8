"""Benchmarks of stars in optical images."""
