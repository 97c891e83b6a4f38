"""The status line of C{tqueue work}, and its text."""

from __future__ import annotations

import io
import os
import sys
import threading
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.support.queue_server import wait_for
from tests.support.terminal import screen
from twisted_appserver.tqueue import progress
from twisted_appserver.tqueue.progress import WorkProgress
from twisted_appserver.tqueue.status_line import StatusLine, TerminalStream, status_line


class StreamTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.terminal = io.StringIO()
        self.line = StatusLine(self.terminal)
        self.out, self.err = (TerminalStream(self.line, self.terminal) for _ in range(2))

    def shown(self) -> list[str]:
        return screen(self.terminal.getvalue())

    def test_lines_stand_above_the_status(self) -> None:
        self.line.show("1 done, with a long line")
        print("hello", "world", file=self.out)
        print("trouble", file=self.err)
        self.assertEqual(self.shown(), ["hello world", "trouble", "1 done, with a long line"])
        self.line.show("2 done")
        self.assertEqual(self.shown(), ["hello world", "trouble", "2 done"])
        self.line.show("")
        self.assertEqual(self.shown(), ["hello world", "trouble"])

    def test_a_line_that_is_not_complete_is_kept_until_it_is_flushed(self) -> None:
        self.line.show("status")
        self.out.write("a")
        self.assertEqual(self.shown(), ["status"])
        self.out.flush()
        self.line.show("later")
        self.assertEqual(self.shown(), ["a"])  # no status within a line
        self.out.writelines(["b\n", "c\n"])
        self.assertEqual(self.shown(), ["ab", "c", "later"])
        self.out.write("x" * 10_000)
        self.assertIn("x" * 10_000, self.shown())

    def test_lines_of_several_threads_do_not_mix(self) -> None:
        self.line.show("status")
        self.out.write("from the main ")
        thread = threading.Thread(target=self.out.write, args=("from another\n",))
        thread.start()
        thread.join()
        self.out.write("thread\n")
        self.assertEqual(self.shown(), ["from another", "from the main thread", "status"])

    def test_a_terminal_that_is_closed_hurts_nobody(self) -> None:
        self.terminal.close()
        self.line.show("status")

    def test_a_forked_process_writes_without_the_status_and_without_locks(self) -> None:
        reading, writing = os.pipe()
        stream = open(writing, "w")  # noqa: SIM115 - closed below
        line = StatusLine(stream)
        out = TerminalStream(line, stream)
        line.show("status ")
        out.write("begun in the parent")
        held = threading.Event()
        over = threading.Event()
        thread = threading.Thread(target=self.hold, args=(line, held, over))
        thread.start()
        held.wait(10)
        child = os.fork()
        if child == 0:
            try:
                print("child", file=out)
                out.flush()
                line.show("none")
            finally:
                os._exit(0)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        over.set()
        thread.join()
        stream.close()
        with open(reading) as file:
            self.assertEqual(file.read(), "status child\n")

    def hold(self, line: StatusLine, held: threading.Event, over: threading.Event) -> None:
        with line._lock:
            held.set()
            over.wait(10)


class InstallTests(SynchronousTestCase):
    def check(self, is_terminal: bool, term: str, expected: bool) -> None:
        streams: list[Any] = [io.StringIO(), io.StringIO()]
        streams[1].isatty = lambda: is_terminal
        with patch("sys.stdout", streams[0]), patch("sys.stderr", streams[1]):
            with patch.dict(os.environ, {"TERM": term}), status_line() as line:
                self.assertEqual(line is not None, expected)
                self.assertIs(sys.stdout, streams[0])  # no terminal: what it receives is not changed
                self.assertEqual(sys.stderr is not streams[1], expected)
                sys.stderr.write("not complete")
            self.assertIs(sys.stderr, streams[1])
        self.assertEqual(streams[1].getvalue(), "not complete")

    def test_only_terminals_that_can_erase_a_line_have_one(self) -> None:
        self.check(True, "xterm", True)
        self.check(True, "dumb", False)
        self.check(False, "xterm", False)


class ReporterTests(SynchronousTestCase):
    def test_without_a_terminal_changed_figures_are_reported_from_time_to_time(self) -> None:
        self.patch(progress, "REPORTED", 0.001)
        work = SimpleNamespace(done=0, failed=0, lost=0)
        asked: list[int] = []
        reports: list[str] = []

        class Asked:
            @property
            def unfinished_tasks(self) -> int:
                asked.append(1)
                if len(asked) == 10:
                    work.done = 5
                if len(asked) == 20:
                    raise ConnectionRefusedError
                return 8

        reporter = progress.ProgressReporter(work, [Asked()], None, reports.append)  # type: ignore[arg-type]
        reporter.start()
        wait_for(lambda: len(asked) > 30)
        reporter.stop()
        self.assertEqual([each.rpartition(", ")[0] for each in reports], ["5 done, 0 failed, 8 left"])


class ProgressTests(SynchronousTestCase):
    def test_line_has_all_figures(self) -> None:
        self.assertEqual(WorkProgress(7, 1, 0, 3, 2.5, 4.0).line, "7 done, 1 failed, 3 left, 2.5 per second")
        self.assertEqual(
            WorkProgress(7, 0, 2, None, 0.0, 4.0).line,
            "7 done, 0 failed, 2 lost, the server cannot be reached, 0.0 per second",
        )

    def test_without_tqdm_or_tasks_the_bar_is_the_line(self) -> None:
        for figures, tqdm in (
            (WorkProgress(7, 1, 0, 3, 2.5, 4.0), None),
            (WorkProgress(7, 1, 0, 0, 2.5, 4.0), object()),
        ):
            self.assertEqual(figures.bar(80, True, tqdm), figures.line)

    def test_bar_fits_the_terminal(self) -> None:
        try:
            from tqdm import tqdm
        except ImportError:
            raise SkipTest("tqdm is not installed") from None
        for is_unicode in (True, False):
            text = WorkProgress(20, 1, 0, 60, 10.0, 2.0).bar(80, is_unicode, tqdm)
            self.assertEqual((len(text), text.isascii()), (80, not is_unicode))
            self.assertRegex(text, r"^ 25%\|.*\| 20/80 \[00:02<00:06, 10.00 tasks/s, 1 failed\]$")
