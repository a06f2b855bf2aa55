"""The analyzers. ``import actors`` loads neither Ray nor a model library."""
