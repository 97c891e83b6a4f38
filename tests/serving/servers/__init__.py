"""Tests of several servers under a supervisor."""
