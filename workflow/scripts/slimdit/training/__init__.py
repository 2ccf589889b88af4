"""Objectives, the loop that minimises them, and how a run resumes to the same bits."""
