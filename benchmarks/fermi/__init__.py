"""`PointSourceFinder` on real and simulated LAT skies, beside its peers."""
