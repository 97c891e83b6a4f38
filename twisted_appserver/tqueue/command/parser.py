"""Reads the command line, and prints help."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from twisted_appserver.command_line import unknown, version_text

from .queue_verbs import QUEUE_VERBS
from .task_verbs import TASK_VERBS
from .verb import Verb, at_least
from .work_verb import WORK_VERBS

VERBS = {verb.name: verb for verb in (*TASK_VERBS, *QUEUE_VERBS, *WORK_VERBS)}
LEADING = ("--url", "--patience")  # options that may also stand before the verb
# Words that other programs use, and the verbs that mean the same.
OTHER_WORDS = {
    "ack": "done", "add": "put", "clear": "purge", "configure": "config", "count": "qsize", "drop": "delete",
    "enqueue": "put", "finish": "done", "info": "stats", "len": "qsize", "list": "queues or peek",
    "ls": "queues or peek", "monitor": "watch", "nack": "release", "pop": "get", "push": "put",
    "remove": "delete", "retry": "release or kick", "rm": "delete", "run": "work", "set": "config",
    "size": "qsize", "top": "watch", "wait": "join", "worker": "work",
}  # fmt: skip
ENVIRONMENT = """\
Environment:
  TQUEUE_URL    URL of the server, if --url is not given; http://127.0.0.1:8082 if neither is
  TQUEUE_TOKEN  token, for a server that requires one

Exit status: 0 for success; 1 if there is nothing to get, no room or no such leased task; 2 for an error;
130 after Ctrl-C.
"""


class VerbParser(argparse.ArgumentParser):
    """The parser of one verb. An error is one line, with the closest option, and exit status 2."""

    def __init__(self, verb: Verb) -> None:
        self._options: list[str] = []
        super().__init__(
            prog=f"tqueue {verb.name}",
            description=verb.help,
            epilog="\n\n".join(filter(None, (verb.more, f"Example: tqueue {verb.name} {verb.example}"))),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if verb.has_name:
            self.add_argument("name", metavar="NAME", help="name of the queue")
        verb.arguments(self)
        if verb.has_table:
            self.add_argument("--json", action="store_true", help="print JSON instead of a table")
        self.add_argument(
            "--url", metavar="URL", help="URL of the server; TQUEUE_URL or http://127.0.0.1:8082 by default"
        )
        most = "for ever" if verb.patience == float("inf") else f"{verb.patience:.0f}"
        self.add_argument(
            "--patience", type=at_least(0.0), default=verb.patience, metavar="S",
            help=f"seconds to try again while the server cannot be reached; {most} by default",
        )  # fmt: skip
        self.set_defaults(name="queues", json=False)

    def add_argument(self, *names: Any, **options: Any) -> Any:
        self._options += names
        return super().add_argument(*names, **options)

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse the words after the verb. Options may stand anywhere."""
        known = [each for each in self._options if each.startswith("--")]
        for word in words:
            if word == "--":
                break
            if word.startswith("--") and word.partition("=")[0] not in known:
                self.exit(2, f"{self.prog}: {unknown('option', word.partition('=')[0], known, self.prog)}\n")
        given, rest = self.parse_known_intermixed_args(words)
        if rest:
            self.error(f"unexpected argument {rest[0]!r}")
        return given

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def help_text() -> str:
    """Return the help of the whole command, with the verbs in groups."""
    lines = ["usage: tqueue VERB [NAME] [options]", "", "Use the queues of a TQueueSrv.", ""]
    group = ""
    for verb in VERBS.values():
        if verb.group != group:
            lines += ([""] if group else []) + [f"{verb.group}:"]
            group = verb.group
        lines.append(f"  {verb.name:<9} {verb.help}")
    lines += [
        "",
        "NAME is the name of a queue. tqueue VERB --help shows the options of a verb.",
        "",
        ENVIRONMENT,
    ]
    return "\n".join(lines)


def _fail(message: str) -> NoReturn:
    print(f"tqueue: {message}", file=sys.stderr)
    sys.exit(2)


def _show(text: str) -> NoReturn:
    print(text.rstrip())
    sys.exit(0)


def _find(word: str) -> Verb:
    if word in VERBS:
        return VERBS[word]
    if word in OTHER_WORDS:
        _fail(f"unknown verb {word}; did you mean {OTHER_WORDS[word]}? See tqueue --help")
    if word.startswith("-"):
        _fail(unknown("option", word, LEADING, "tqueue"))
    _fail(unknown("verb", word, VERBS, "tqueue"))


def parse(words: Sequence[str]) -> tuple[Verb, argparse.Namespace]:
    """
    Parse a command line. The URL of the server may also stand directly after the verb.

    @raise SystemExit: after help, the version, or a message about a wrong command line.
    """
    leading: list[str] = []
    rest = list(words)
    while rest and rest[0].partition("=")[0] in LEADING:
        leading += rest[: 1 if "=" in rest[0] else 2]
        rest = rest[1 if "=" in rest[0] else 2 :]
    if not rest:
        print(help_text().rstrip(), file=sys.stderr)
        sys.exit(2)
    if rest[0] in ("-h", "--help") or rest == ["help"]:
        _show(help_text())
    if rest[0] in ("-V", "--version"):
        _show(version_text())
    if rest[0] == "help":
        rest = [rest[1], "--help"]
    verb, rest = _find(rest[0]), rest[1:]
    if rest and rest[0].startswith(("http://", "https://")):  # a queue's name contains no slash
        rest.insert(0, "--url")
    return verb, VerbParser(verb).parse([*leading, *rest])
