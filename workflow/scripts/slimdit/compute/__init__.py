"""What arithmetic runs on: devices, types, memory, the processes of one training."""
