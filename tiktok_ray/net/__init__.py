"""The network: the guarded proxy, fetching videos and weights, and blocking telemetry of libraries."""
