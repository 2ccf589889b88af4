"""What PyTorch's compiler makes of the study's models for GPUs, on a machine without one."""
