"""The study's figures, one module each, drawn from arrays and results."""
