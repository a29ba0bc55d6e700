"""Training through the concurrent cache: a whole run of a team is one forward (docs/training.md)."""
