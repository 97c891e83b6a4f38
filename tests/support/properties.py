"""Hypothesis, set so that the property tests take about a second each and never fail for a slow machine."""

from hypothesis import given, settings
from hypothesis import strategies as st

settings.register_profile("trial", deadline=None, max_examples=60, database=None)
settings.load_profile("trial")

__all__ = ["given", "st"]
