"""Records as pictures, one file a plot."""
