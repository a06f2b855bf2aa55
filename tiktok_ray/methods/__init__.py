"""The methods that analyzers are built from, for images, sound and text.

They know the media and the algebra of spans and tracks, and nothing of what runs them.
"""
