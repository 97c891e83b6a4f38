"""The parts that all verbs of the command share."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

from ..client.queue import Queue
from .output import Output

PATIENCE = 3.0  # seconds; a server that is started again is away for a second or two
TASKS, QUEUES, WORKERS = "Tasks", "Queues", "Workers"  # the groups of the help


def _no_arguments(parser: argparse.ArgumentParser) -> None:
    pass


@dataclass(frozen=True)
class Verb:
    """
    A verb of the command.

    @ivar run: performs the verb, and returns the exit status.
    @ivar arguments: adds the arguments to a parser, other than the name of the queue and the server's URL.
    @ivar example: an example of the arguments, without C{tqueue} and the verb.
    @ivar more: further help.
    @ivar has_table: whether it prints a table, and JSON with C{--json}.
    @ivar patience: seconds for which a request is repeated, unless C{--patience} is given.
    """

    name: str
    group: str
    help: str
    run: Callable[[Queue, argparse.Namespace, Output], int]
    example: str
    arguments: Callable[[argparse.ArgumentParser], None] = _no_arguments
    more: str = ""
    has_name: bool = True
    has_table: bool = False
    patience: float = PATIENCE


def complain(message: str) -> None:
    """Print a line on standard error."""
    if sys.stderr is not None:
        sys.stderr.write(f"tqueue: {message}\n")  # one call, so that lines of several threads do not mix
        sys.stderr.flush()


def plural(count: float, noun: str) -> str:
    """Return a number with its noun, such as C{2 tasks}."""
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:g} {noun}{ending}"


def at_least(lowest: float, highest: float = math.inf) -> Callable[[str], float]:
    """Return the type of an option: a number of the same type as C{lowest}."""
    most = f" and at most {highest:.0f}" if highest < math.inf else ""

    def number(text: str) -> float:
        if not lowest <= (value := type(lowest)(text)) <= highest:
            raise argparse.ArgumentTypeError(f"must be {lowest} or more{most}, not {text}")
        return value

    return number


def task_name(text: str) -> tuple[str, int]:
    """
    Parse C{ID} or C{ID:DELIVERY}.

    @return: the id and the delivery; 0 for any.
    """
    task_id, colon, delivery = text.partition(":")
    if not task_id or (colon and not delivery.isdecimal()):
        raise argparse.ArgumentTypeError(f"must be ID or ID:DELIVERY, not {text!r}")
    return task_id, int(delivery or 0)
