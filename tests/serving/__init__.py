"""Tests of servers as programs."""
