"""References written from the papers' equations, in eager float32, as DiT's repositories run them.

Their slips are left out: no checkpointing while sampling, no second autoencoder, no lines printed.
"""
