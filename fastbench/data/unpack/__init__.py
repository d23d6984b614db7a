"""From published archives to class folders: ImageNet's, and WebDataset's shards."""
