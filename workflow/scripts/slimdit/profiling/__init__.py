"""What a pass costs: parameters and operations on paper, latency, memory and energy measured."""
