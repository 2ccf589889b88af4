"""When the kernels of a compiled pass are launched as one graph."""

GRAPHED = "reduce-overhead"  # torch.compile's mode for it
LARGEST_GRAPH = 32  # images of a batch whose kernels are too short to be launched one by one


def is_graphed(batch_size: int, device) -> bool:
    """Whether a compiled pass of so many images is one graph on this torch device."""
    return device.type == "cuda" and batch_size <= LARGEST_GRAPH
