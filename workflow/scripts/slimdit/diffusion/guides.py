"""What guides a sampling where it is not another row: a word of configs, without PyTorch."""

INPUT = "input"  # the model itself, which is told the scale
