"""Images to subsets, and subsets to latents."""
