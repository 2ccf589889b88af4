"""Which row of a study to use: the cheapest one whose loss of quality is shown to be small."""
