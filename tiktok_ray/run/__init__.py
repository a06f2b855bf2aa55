"""Running analyzers: the engine, its kinds of workers, placement on cards, the cache."""
