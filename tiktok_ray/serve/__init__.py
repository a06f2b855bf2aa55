"""The service: HTTP, jobs, results, search, tools for agents."""
