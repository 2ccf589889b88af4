"""Measures of a set of images by their features; float64 throughout.

Features are arrays (number of images, number of features). Raises InputError for features that
are not finite, of another rank, or too few.
"""
