"""
The options as keyword arguments, for type checkers: they report unknown names and values of wrong types.

C{tests/test_typing.py} compares this table with L{settings.Settings}, which has the meanings and defaults.
"""

from __future__ import annotations

from os import PathLike
from typing import Literal, TypedDict


class OtherOptionValues(TypedDict, total=False):
    """The options that are no parameters of L{serving.run.run_server} themselves. All may be left out."""

    host: str
    listen: tuple[str, ...]
    app: str | PathLike[str] | None
    servers: int | Literal["auto"]
    threads: int
    workers: int | None
    scheduler: str
    upload: bool
    timeout: float
    graceful_timeout: float
    max_pending: int
    max_body: int
    max_bodies: int
    max_connections: int
    compress: int
    header_timeout: float
    idle_timeout: float
    max_requests: int
    max_rss: int
    allow_host: tuple[str, ...]
    allow_origin: tuple[str, ...]
    token_file: str | PathLike[str] | None
    auth: tuple[str, ...]
    insecure: bool
    proxied: tuple[str, ...]
    store: str
    max_jobs: int
    max_job_bytes: int
    job_age: float
    no_admin: bool
    mcp: bool
    channel: str
    access_log: str | PathLike[str] | None
    log_format: str
    log_requests: str
    reload: bool
    display_tracebacks: bool


class OptionValues(OtherOptionValues, total=False):
    """All options. All may be left out."""

    port: int
    server_type: str
