"""Concurrent attention: what each row of a pass reads, and the functions that read it."""

from hogwild.attention.choose import AttentionFunction, choose_attention
from hogwild.attention.plain import plain_attention
from hogwild.attention.plan import Plan, Reading, Span
from hogwild.attention.reference import reference_attention
from hogwild.attention.watch import Gaze, Watcher

__all__ = [
    "AttentionFunction",
    "Gaze",
    "Plan",
    "Reading",
    "Span",
    "Watcher",
    "choose_attention",
    "plain_attention",
    "reference_attention",
]
