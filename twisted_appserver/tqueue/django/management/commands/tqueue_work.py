"""C{manage.py tqueue_work} performs the tasks of a backend."""

from __future__ import annotations

import math
import os
import sys
from argparse import ArgumentParser
from contextlib import suppress
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.tasks import DEFAULT_TASK_BACKEND_ALIAS, task_backends

from ....client.errors import ServerError
from ....command import main
from ....command.verb import at_least
from ....command.work_verb import work_options
from ....queue_choice import read_queues
from ...backend import Backend
from ...queues import prepared_queue

FUNCTION = "twisted_appserver.tqueue.django:perform"
PASSED_ON = ("threads", "type", "time_limit", "prefetch", "lease", "patience")


class Command(BaseCommand):  # type: ignore[misc]
    """Performs the tasks of a backend."""

    help = "Perform tasks, until Ctrl-C or SIGTERM."
    requires_system_checks: list[str] = []  # They would show an error of TASKS with a traceback.

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options of C{tqueue work}."""
        parser.add_argument(
            "--backend", default=DEFAULT_TASK_BACKEND_ALIAS, metavar="ALIAS", help="the backend in TASKS"
        )
        parser.add_argument(
            "--queues", metavar="NAMES",
            help="emails,reports performs the tasks of the first queue that has one; emails:3,reports:1 "
            "performs three tasks of emails for each of reports; by default, QUEUES in their order",
        )  # fmt: skip
        work_options(parser)
        parser.add_argument(
            "--patience", type=at_least(0.0), default=math.inf, metavar="S",
            help="seconds to try again while the server cannot be reached; for ever by default",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        """Work as C{tqueue work} does."""
        try:
            backend = task_backends[options["backend"]]
            if not isinstance(backend, Backend):
                raise CommandError(f"TASKS[{options['backend']!r}] is not a {Backend.__module__} Backend")
            names = _names(backend, options["queues"])
        except (ImproperlyConfigured, ValueError) as error:
            raise CommandError(str(error)) from None
        if backend.read.token is not None:
            os.environ["TQUEUE_TOKEN"] = backend.read.token
        words = ["work", names, FUNCTION, "--url", backend.read.url]
        for name in PASSED_ON:
            if options[name] is not None:
                words += [f"--{name.replace('_', '-')}", str(options[name])]
        words += ["--quiet"] * options["quiet"]
        words += ["--no-retry"] * (backend.read.retry is None)
        sys.exit(main(words))


def _names(backend: Backend, given: str | None) -> str:
    """
    Return the queues for C{tqueue work}, and set their options.

    @raise ValueError: when there are none, or one is not allowed.
    """
    text = ",".join(backend.names) if given is None else given
    if not text:
        raise ValueError("QUEUES is empty, so that every queue is allowed: name some with --queues")
    for each in read_queues(text):
        if backend.names and each.name not in backend.names:
            raise ValueError(f"the queue {each.name!r} is not in QUEUES of TASKS[{backend.alias!r}]")
        with suppress(OSError, ServerError):  # The command waits for the server, and reports what is wrong.
            prepared_queue(backend.read._replace(patience=0.0), each.name)
    return text
