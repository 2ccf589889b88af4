"""What the loss of a diffusion run is made of, by the names in its files and in the tables."""

TERMS = ("loss", "mse", "vb", "distillation", "balance", "features")  # the first: weighted sum
