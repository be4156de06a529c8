"""Point sources: finding them, and telling what they are."""
