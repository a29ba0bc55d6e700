"""Benchmarks: what a pass costs, how near the machine's limit that is, and what others take for the same work."""
