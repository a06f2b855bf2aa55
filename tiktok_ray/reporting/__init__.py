"""What becomes of outputs: timeline, summary, settled contradictions; the form, and reports as files."""
