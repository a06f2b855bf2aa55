"""The network: the guarded way out, fetching videos and weights, and what keeps libraries from reporting home."""
