"""The diffusion process and its samplers, guidance, images from noise."""
