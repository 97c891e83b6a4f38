"""Tests of the functions as tools of AI assistants."""
