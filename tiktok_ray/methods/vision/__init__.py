"""Methods over pictures."""
