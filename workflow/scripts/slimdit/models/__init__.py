"""The Diffusion Transformer, its components, what is done to its weights, its checkpoints."""
