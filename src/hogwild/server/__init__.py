"""Many teams behind HTTP: the OpenAI API over one engine, and teams that can be watched. Needs ``hogwild[serve]``."""
