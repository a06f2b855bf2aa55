"""Running analyzers: the engine, its kinds of workers, placement on GPUs, the cache."""
