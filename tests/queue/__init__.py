"""Tests of the queue engine."""
