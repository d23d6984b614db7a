"""From files to batches: the interface, the registry, and the loaders that come with fastbench."""
