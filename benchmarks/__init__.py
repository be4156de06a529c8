"""Measurements of the shipped estimators beside their peers: ``python -m benchmarks --help``."""
