"""Tests of calls and functions."""
