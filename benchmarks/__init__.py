"""Measurements: how right the analyzers are, and what they cost."""
