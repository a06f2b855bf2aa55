"""Methods that analyzers are made of: each from pictures, sound or text to what it measures.

They know the media and the algebra of spans and tracks, and nothing of what runs them.
"""
