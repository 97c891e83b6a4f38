"""Tests of background calls."""
