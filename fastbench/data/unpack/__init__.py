"""From what is published to class folders, and on to shards: ImageNet archives, WebDataset."""
