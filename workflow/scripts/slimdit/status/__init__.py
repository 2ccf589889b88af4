"""How far a study is: `python -m slimdit.status`."""
