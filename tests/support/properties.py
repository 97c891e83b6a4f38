"""Hypothesis, configured so that a property test takes about a second and a slow machine never fails it."""

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

settings.register_profile(
    "trial", deadline=None, max_examples=60, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("trial")

__all__ = ["example", "given", "st"]
