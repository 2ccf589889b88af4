"""What surrounds a step: locks, progress, provenance, processes. It changes no result: no digest of
a step's code reads this package."""
