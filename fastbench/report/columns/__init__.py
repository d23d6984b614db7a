"""What can be said of a row: one column a figure, and the registry of all of them."""
