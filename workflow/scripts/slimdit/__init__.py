"""SlimDiT: what a cheaper Diffusion Transformer costs in quality, and what it gains."""


def __getattr__(name: str):
    # The Snakefile imports this package for every dry run; torch must not come with it.
    if name == "load_variant":
        from slimdit.models.checkpoint import load_variant

        return load_variant
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
