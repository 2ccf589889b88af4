"""The page on which the rows of a study are compared by hand."""
