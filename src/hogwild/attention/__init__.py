"""Concurrent attention: what each row of a pass reads, and the functions that read it."""

from hogwild.attention.plain import plain_attention
from hogwild.attention.plan import Plan, Reading, Span
from hogwild.attention.reference import reference_attention

__all__ = ["Plan", "Reading", "Span", "plain_attention", "reference_attention"]
