"""Evaluation: accuracy at a budget of passes, for any model, against the baselines; needs ``hogwild[eval]``."""
