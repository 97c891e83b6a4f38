"""Runs a verb, and turns its outcome into an exit status."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from .. import client
from ..client.addresses import Address, default_url, read_address
from ..client.queue import Queue
from .error_messages import EXPECTED, STATES, message_for
from .output import Output, OutputError
from .parser import parse
from .put_verb import LineError
from .verb import PATIENCE, complain

BROKEN_PIPE = 141  # the exit status of a shell: 128 and the number of SIGPIPE


def _address(url: str | None) -> tuple[str, Address]:
    """
    Return the URL of the server, and the address that the URL contains.

    @raise ValueError: when it cannot be used.
    """
    try:
        chosen = default_url() if url is None else url
        return chosen, read_address(chosen, os.environ.get("TQUEUE_TOKEN", ""))
    except ValueError as error:
        raise ValueError(f"{'--url' if url is not None else 'TQUEUE_URL'}: {error}") from None


class WarningHandler(logging.Handler):
    """Prints the warnings of the client, unless the function of C{work} has set up logging."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            complain(record.getMessage())


@contextmanager
def _client_warnings(shown: bool) -> Iterator[None]:
    """
    Print the warnings of the client. With a short patience, only the final error is printed: it has the same
    content.
    """
    handler = WarningHandler()
    logger = logging.getLogger(client.__name__)
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if shown else logging.ERROR)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


def _failed(error: BaseException, address: Address, queue: str) -> int:
    """Print why a request failed. Return the exit status."""
    place = f" ({error})" if isinstance(error, LineError) else ""
    reason = error.__cause__ or error if isinstance(error, LineError) else error
    complain(message_for(reason, address, queue) + place)
    return 1 if isinstance(reason, tuple(STATES)) else 2


def run(arguments: Sequence[str]) -> int:
    """
    Run the command.

    @return: the exit status: 0 for success; 1 if there was nothing to get, no room or no such leased task; 2
        for an error; 141 if the output is no longer read.
    """
    verb, given = parse(arguments)
    try:
        url, address = _address(given.url)
    except ValueError as error:
        complain(str(error))
        return 2
    output = Output(sys.stdout, given.json)
    try:
        with _client_warnings(given.patience > PATIENCE):
            lease = getattr(given, "lease", None)
            with closing(Queue(0, url, given.name, lease=lease, patience=given.patience)) as queue:
                return verb.run(queue, given, output)
    except OutputError as error:
        if error.closed:
            return BROKEN_PIPE
        complain(str(error))
        return 2
    except (LineError, *EXPECTED) as error:
        return _failed(error, address, given.name)
