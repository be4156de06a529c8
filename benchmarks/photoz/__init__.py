"""Benchmarks of photometric redshifts."""
