"""Pixel-level morphology of galaxies: networks, simulated scenes, catalogues."""
