"""What kind of gamma-ray source a detection is: the pieces of `~astrolearn.SourceClassifier`."""
