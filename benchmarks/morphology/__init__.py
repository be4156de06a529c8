"""How well galaxies are detected and classified pixel by pixel, against what people use today."""
