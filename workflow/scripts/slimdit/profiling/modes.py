"""What is timed, as the config, speed.json and the tables call it."""

EAGER, COMPILED = MODES = ("eager", "compiled")  # of a pass through the model
SAMPLER = "sampler"  # a whole sampling of latents
DECODER = "decoder"  # latents to images
