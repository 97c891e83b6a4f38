"""How far the work has come: a bar on a terminal, or else a line from time to time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .client.errors import ServerError
from .client.queue import Queue
from .status_line import StatusLine
from .worker import Worker

SHOWN = 0.5  # seconds between two changes of the bar
REPORTED = 60.0  # seconds between two lines of a log
WINDOW = 10.0  # seconds over which the rate is measured


def _load_tqdm() -> Any:
    """Return tqdm, which draws a bar; C{None} if it is not installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm


@dataclass(frozen=True)
class WorkProgress:
    """
    How far the work has come.

    @ivar left: the number of tasks that are not done; C{None} if the server cannot be reached.
    @ivar rate: tasks per second.
    @ivar seconds: since the work began.
    """

    done: int
    failed: int
    lost: int
    left: int | None
    rate: float
    seconds: float

    @property
    def line(self) -> str:
        """All figures in words."""
        left = "the server cannot be reached" if self.left is None else f"{self.left} left"
        lost = f", {self.lost} lost" if self.lost else ""
        return f"{self.done} done, {self.failed} failed{lost}, {left}, {self.rate:.1f} per second"

    def bar(self, columns: int, is_unicode: bool, tqdm: Any) -> str:
        """
        Return a line with a bar.

        @param columns: the width of the line.
        @param is_unicode: whether the terminal shows all characters.
        @param tqdm: formats the bar; without it, or without a number of tasks, the result is L{line}.
        """
        if tqdm is None or not self.left:
            return self.line
        troubles = {"failed": self.failed, "lost": self.lost}
        return str(
            tqdm.format_meter(
                n=self.done,
                total=self.done + self.left,
                elapsed=self.seconds,
                ncols=columns,
                ascii=not is_unicode,
                unit=" tasks",
                rate=self.rate or None,
                postfix=", ".join(f"{count} {name}" for name, count in troubles.items() if count),
            )
        )


class ProgressReporter:
    """
    Shows the progress of the work, in a thread of its own.

    @param queues: the queues whose remaining tasks are counted; their patience should be short.
    @param line: shows the bar; C{None} for a report from time to time, if the figures have changed.
    @param report: prints a report.
    """

    def __init__(
        self,
        work: Worker,
        queues: Sequence[Queue],
        line: StatusLine | None,
        report: Callable[[str], None],
    ) -> None:
        self._work, self._queues, self._line, self._report = work, queues, line, report
        self._begin = time.monotonic()
        self._counts: deque[tuple[float, int]] = deque([(self._begin, 0)])
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tqueue-progress", daemon=True)
        self._tqdm = _load_tqdm()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Show nothing any more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(1.0)
        if self._line is not None:
            self._line.show("")

    def _run(self) -> None:
        before = 0
        while not self._stopping.wait(REPORTED if self._line is None else SHOWN):
            progress = self.progress()
            if self._line is None:
                if before != (before := progress.done + progress.failed + progress.lost):
                    self._report(progress.line)
            elif not self._stopping.is_set():
                self._line.show(progress.bar(self._line.columns, self._line.is_unicode, self._tqdm))

    def progress(self) -> WorkProgress:
        """Return the present figures."""
        try:
            left: int | None = sum(queue.unfinished_tasks for queue in self._queues)
        except (OSError, ServerError):
            left = None
        now, work = time.monotonic(), self._work
        self._counts.append((now, work.done))
        while len(self._counts) > 2 and self._counts[0][0] < now - WINDOW:
            self._counts.popleft()
        since, before = self._counts[0]
        rate = (work.done - before) / max(now - since, 0.001)
        return WorkProgress(work.done, work.failed, work.lost, left, rate, now - self._begin)
