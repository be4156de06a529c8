"""What every estimator shares: inputs and units, result tables, weight files, progress and parallel work."""
