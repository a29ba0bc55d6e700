"""Models: found, loaded, measured; supported or refused."""
