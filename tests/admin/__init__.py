"""Tests of pages, probes and metrics."""
