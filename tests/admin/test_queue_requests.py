"""Edits, groups and the history of queues as JSON, and jobs that are tried again."""

from __future__ import annotations
