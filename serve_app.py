"""The HTTP ingress of tiktok_ray on Ray Serve."""
