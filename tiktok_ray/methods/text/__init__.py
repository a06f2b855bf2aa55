"""Methods over text, and over text on pictures."""
