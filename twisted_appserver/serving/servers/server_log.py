"""
Carries the log of a server to its supervisor, which writes one log for all servers.

Each entry names its server: at the beginning of a line for people, and as C{server} in JSON.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from twisted_appserver.serving.logs import is_about_our_port, message_of, values_of
from twisted_appserver.serving.servers.messages import Logged

LAST_LINE = "Main loop terminated."  # Twisted's; the supervisor has it too


class ReportingObserver:
    """
    A log observer that sends each event to the supervisor.

    @param send: sends a message. It is called in the thread that logs.
    """

    def __init__(self, send: Callable[[Logged], None]) -> None:
        self._send = send

    def __call__(self, event: LogEvent) -> None:
        text, trace = message_of(event)
        if text == LAST_LINE or is_about_our_port(event):
            return
        level = event.get("log_level") or LogLevel.info
        namespace = event.get("log_namespace", "")
        self._send(Logged(event["log_time"], level.name, namespace, text, trace, values_of(event)))


def log_report(number: int, entry: Logged) -> None:
    """
    Write an entry of a server to the log of the supervisor.

    @param number: the number of the server.
    """
    globalLogPublisher(
        {
            **entry.fields,
            "server": number,
            "log_time": entry.time,
            "log_level": LogLevel.lookupByName(entry.level),
            "log_namespace": entry.namespace,
            "log_format": "{text}",
            "text": "\n".join(filter(None, (entry.text, entry.traceback))),
        }
    )
