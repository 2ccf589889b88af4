"""What running out of memory looks like, in every library that can."""

OUT_OF_MEMORY = ("OutOfMemoryError", "ResourceExhaustedError")  # PyTorch on CUDA, TensorFlow
CPU_ALLOCATOR = "DefaultCPUAllocator"  # PyTorch on a CPU raises a plain RuntimeError


def is_out_of_memory(error: BaseException) -> bool:
    """Whether less at once might do."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ in OUT_OF_MEMORY
        or (isinstance(error, RuntimeError) and CPU_ALLOCATOR in str(error))
    )
