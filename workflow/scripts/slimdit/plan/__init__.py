"""What a study will cost: `python -m slimdit.plan`."""
