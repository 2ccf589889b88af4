"""The ground, which knows nothing of the study: errors, randomness, registries, digests of code."""
