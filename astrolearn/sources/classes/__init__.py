"""What kind of gamma-ray source a detection is: features, the network, and the catalogues to compare with."""
