"""From outputs to reports: timeline, summary, schema, and reports as files."""
