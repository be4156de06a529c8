"""How each shipped weight file was trained: one runnable, seeded module per file."""
