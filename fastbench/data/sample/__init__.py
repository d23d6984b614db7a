"""The sample data set: drawn here, the same on every machine."""
