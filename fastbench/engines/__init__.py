"""What executes a model: one file an engine, behind one small interface."""
