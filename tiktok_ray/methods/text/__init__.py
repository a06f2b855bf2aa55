"""Methods for text, and for text in images."""
