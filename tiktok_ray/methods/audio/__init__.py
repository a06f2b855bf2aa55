"""Methods for sound and speech."""
