"""What several loaders stand on: threads, worker processes, CUDA streams, pixels."""
