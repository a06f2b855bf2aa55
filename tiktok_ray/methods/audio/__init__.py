"""Methods over sound and speech."""
