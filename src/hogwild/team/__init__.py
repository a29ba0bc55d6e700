"""Teams: several workers on one task, as typed events. The names for users are in `hogwild` itself."""
