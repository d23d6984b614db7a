"""The loaders that come with fastbench, a file each."""
