"""Image sets to features, and features to metrics."""
