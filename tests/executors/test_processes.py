"""Tests of what L{ProcessExecutor} promises beyond the common table: real workers, and their deaths."""

from __future__ import annotations

import errno
import os
import signal
import tempfile
import time
from typing import Any
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.support import cases, tampering
from tests.support.executor_test_case import APPLICATION, ExecutorTestCase, get, json_of
from tests.support.slow import slow
from twisted_appserver import Call, ConfigurationError, ProcessExecutor, Reply, Router
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.executors.processes.frames import Replied
from twisted_appserver.executors.processes.frames import encode as frame
from twisted_appserver.executors.processes.progress import Progress


class ProcessTests(ExecutorTestCase):
    async def whole(self, executor: ProcessExecutor) -> None:
        """Wait until the pool has all its workers."""
        await self.until(lambda: len(executor.pids) == executor.size)

    async def test_calls_run_in_parallel_in_processes_of_their_own(self) -> None:
        """Four calls run at the same time in four workers, each in a process of its own."""
        executor, dispatcher = await self.processes(4)
        place = self.mktemp()
        os.mkdir(place)
        calls = [get("/meets/", place=os.path.abspath(place), count=4) for _ in range(4)]
        replies = await gatherResults([dispatcher.dispatch(call) for call in calls])
        self.assertEqual({json_of(reply)["pid"] for reply in replies}, set(executor.pids))

    async def test_no_call_waits_behind_a_slow_one(self) -> None:
        """While one worker is held, calls go through the other; none waits behind the held one."""
        executor, dispatcher = await self.processes(2)
        path = os.path.abspath(self.mktemp())
        held = dispatcher.dispatch(get("/holds/", path=path))
        holder = await self.holder(path)
        replies = await gatherResults([dispatcher.dispatch(get("/pid/")) for _ in range(20)])
        self.assertEqual({json_of(reply)["pid"] for reply in replies}, set(executor.pids) - {holder})
        self.assertEqual((executor.running, executor.pending, executor.completed), (1, 0, 20))
        os.remove(path)
        self.assertEqual(json_of(await held), {"pid": holder})

    async def test_function_that_ends_its_process_gets_502(self) -> None:
        """A function that ends its process gets 502 with the reason; the next call works."""
        executor, dispatcher = await self.processes(1)
        for path, how in (
            ("/segfaults/", "SIGSEGV"),
            ("/dies/exit/", "status 3"),
            ("/dies/SIGKILL/", "SIGKILL"),
            ("/dies/SIGABRT/", "SIGABRT"),
        ):
            (before,) = executor.pids
            reply = await dispatcher.dispatch(get(path))
            self.assertEqual(reply.status, 502, path)
            self.assertIn(how, json_of(reply)["detail"])
            after = json_of(await dispatcher.dispatch(get("/pid/")))["pid"]
            self.assertNotEqual(after, before)

    async def test_forked_child_does_not_go_on_as_a_worker(self) -> None:
        """A forked child does not continue as a worker, however it ends. Its output is logged."""
        _, dispatcher = await self.processes(1)
        lines = self.logged()
        for how, status in (("returns", 0), ("raises", 1), ("exits", 1), ("status", 7)):
            reply = await dispatcher.dispatch(get(f"/parts/{how}/"))
            self.assertEqual(json_of(reply), {"status": status}, how)
        await self.until(lambda: sum("said by the child" in line for line in lines) == 4)
        self.assertTrue(any("said by the function" in line for line in lines), lines)

    async def test_worker_that_replies_without_a_call_is_replaced(self) -> None:
        """A worker that sends a reply without a call is replaced."""
        executor, dispatcher = await self.processes(1)
        lines, (pid,) = self.logged(), executor.pids
        executor.pool.workers[0].outReceived(frame(Replied(Reply(b"{}"), 0.0)))
        self.assertNotEqual(json_of(await dispatcher.dispatch(get("/pid/"))), {"pid": pid})
        self.assertTrue(any("a reply without a call" in line for line in lines), lines)

    async def test_killed_worker_fails_only_its_running_call(self) -> None:
        """After kill -9 in the middle of a call, it gets 502 within a second, and all others succeed."""
        executor, dispatcher = await self.processes(2)
        path = os.path.abspath(self.mktemp())
        held = dispatcher.dispatch(get("/holds/", path=path))
        holder = await self.holder(path)
        others = [dispatcher.dispatch(get("/echo/", a=n)) for n in range(100)]
        started = time.monotonic()
        os.kill(holder, signal.SIGKILL)
        reply = await held
        self.assertLess(time.monotonic() - started, 1)
        self.assertEqual(reply.status, 502)
        self.assertIn("SIGKILL", json_of(reply)["detail"])
        replies = await gatherResults(others)
        self.assertEqual([json_of(reply) for reply in replies], [{"a": str(n)} for n in range(100)])
        await self.whole(executor)
        self.assertNotIn(holder, executor.pids)
        self.assertEqual((executor.running, executor.pending, executor.failed), (0, 0, 1))

    async def test_killed_idle_worker_fails_no_call(self) -> None:
        """Even if a call is given to the worker before its death is noticed."""
        executor, dispatcher = await self.processes(2)
        for pid in executor.pids:
            os.kill(pid, signal.SIGKILL)
        replies = await gatherResults([dispatcher.dispatch(get("/echo/", a=n)) for n in range(10)])
        self.assertEqual([reply.status for reply in replies], [200] * 10)
        await self.whole(executor)

    async def test_signals_to_the_process_group_end_no_call(self) -> None:
        """A signal to the whole group (Ctrl-C, SIGTERM) cuts no call short: the server decides."""
        _, dispatcher = await self.processes(1)
        path = os.path.abspath(self.mktemp())
        held = dispatcher.dispatch(get("/holds/", path=path))
        holder = await self.holder(path)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(holder, number)
        os.remove(path)
        self.assertEqual(json_of(await held), {"pid": holder})

    async def test_output_is_logged_line_by_line(self) -> None:
        """What a function prints or writes to descriptor 1 is logged with the worker's pid, line by line."""
        executor, dispatcher = await self.processes(1)
        lines = self.logged()
        (pid,) = executor.pids
        await dispatcher.dispatch(get("/prints/", text="one%0Atwo%0A"))
        await dispatcher.dispatch(get("/writes/"))
        await self.until(lambda: any("of a child" in line for line in lines))
        for text in ("one", "two", "to descriptor 1", "of a child"):
            (line,) = [line for line in lines if text in line]
            self.assertTrue(line.startswith(f"[{pid}] "), line)

    async def test_unfinished_line_is_logged_soon(self) -> None:
        """What is printed without a newline is logged as well, before long."""
        executor, dispatcher = await self.processes(1)
        lines = self.logged()
        await dispatcher.dispatch(get("/prints/", text="unfinished"))
        await self.until(lambda: any(f"[{executor.pids[0]}] unfinished" in line for line in lines))

    async def test_function_may_close_its_stdout(self) -> None:
        """A function that closes sys.stdout harms itself only."""
        _, dispatcher = await self.processes(1)
        reply = await dispatcher.dispatch(get("/closes_stdout/"))
        self.assertEqual(json_of(reply), {"closed": True})
        self.assertEqual((await dispatcher.dispatch(get("/pid/"))).status, 200)

    async def test_late_call_gets_504_and_its_worker_is_replaced(self) -> None:
        """A call that takes too long is answered 504; its worker is killed and replaced."""
        executor, dispatcher = await self.processes(1)
        path = os.path.abspath(self.mktemp())
        hurried = dispatcher.dispatch(get("/hurried/", path=path))
        holder = await self.holder(path)
        waiting = dispatcher.dispatch(get("/pid/"))
        levels = self.levels()
        self.assertEqual((await hurried).status, 504)
        self.assertNotEqual(json_of(await waiting)["pid"], holder)
        self.assertEqual((executor.running, executor.pending), (0, 0))
        self.assertEqual(levels, [(LogLevel.warn, "its call took longer than its time limit")])
        self.assertEqual(executor.pool.restarts, 1)

    async def test_cancelled_job_raises_no_alarm(self) -> None:
        """Its worker is killed and replaced. Neither a failure nor a restart is counted."""
        executor, dispatcher = await self.processes(1)
        path, levels = os.path.abspath(self.mktemp()), self.levels()
        pending = dispatcher.begin(get("/holds/", path=path), lambda call, reply: None)
        holder = await self.holder(path)
        dispatcher.cancel(pending, kill=True)
        self.assertNotEqual(json_of(await dispatcher.dispatch(get("/pid/"))), {"pid": holder})
        self.assertEqual(levels, [(LogLevel.info, "its call was cancelled")])
        self.assertEqual((executor.pool.restarts, executor.failed), (0, 0))

    def levels(self) -> list[tuple[Any, str]]:
        """Return a list that gets the level and the reason of each end of a worker from now on."""
        found: list[tuple[Any, str]] = []

        def observe(event: dict[str, Any]) -> None:
            if "how" in event:
                found.append((event["log_level"], event["how"].rpartition(": ")[2]))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return found

    async def test_cancelled_waiting_call_never_runs(self) -> None:
        """A call that is cancelled before it began is never performed."""
        executor, dispatcher = await self.processes(1)
        path, never = os.path.abspath(self.mktemp()), os.path.abspath(self.mktemp())
        held = dispatcher.dispatch(get("/holds/", path=path))
        await self.holder(path)
        waiting = dispatcher.dispatch(get("/holds/", path=never))
        last = dispatcher.dispatch(get("/pid/"))
        self.assertEqual((executor.running, executor.pending), (1, 2))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual((executor.running, executor.pending), (1, 1))
        os.remove(path)
        await gatherResults([held, last])
        self.assertFalse(os.path.exists(never))

    async def test_cancelled_running_call_is_abandoned(self) -> None:
        """A call that is cancelled while it runs is abandoned; its worker is not killed, and works on."""
        executor, dispatcher = await self.processes(1)
        path = os.path.abspath(self.mktemp())
        held = dispatcher.dispatch(get("/holds/", path=path))
        holder = await self.holder(path)
        held.cancel()
        self.failureResultOf(held, CancelledError)
        self.assertEqual(executor.running, 1)
        waiting = dispatcher.dispatch(get("/pid/"))
        os.remove(path)
        self.assertEqual(json_of(await waiting), {"pid": holder})
        self.assertEqual((executor.running, executor.pending), (0, 0))

    async def test_stop_gives_503_to_all_calls_and_leaves_no_process(self) -> None:
        """stop() gives up what runs and waits, both with 503, and fires when no process is left."""
        executor, dispatcher = await self.processes(2)
        path, pids = os.path.abspath(self.mktemp()), executor.pids
        calls = [dispatcher.dispatch(get("/holds/", path=path))]
        await self.holder(path)
        calls += [dispatcher.dispatch(get("/holds/", path=path + str(n))) for n in range(2)]
        stopped = executor.stop()
        await stopped
        self.assertEqual([reply.status for reply in await gatherResults(calls)], [503] * 3)
        for pid in pids:
            self.assertRaises(ProcessLookupError, os.kill, pid, 0)
        self.assertEqual((executor.running, executor.pending), (0, 0))
        late = await dispatcher.dispatch(get("/pid/"))  # like a request pipelined behind a cancelled call
        self.assertEqual((late.status, executor.pending), (503, 0))

    async def test_stop_while_starting_leaves_no_process(self) -> None:
        """A pool that is stopped while it starts leaves no process, and its start fails or has ended."""
        executor = ProcessExecutor(reactor, APPLICATION, 2)
        started: list[Any] = []
        executor.start().addBoth(started.append)
        await executor.stop()
        self.assertEqual(len(started), 1)

    async def test_stopped_pool_can_start_again(self) -> None:
        """A pool that was stopped can be started again."""
        executor, dispatcher = await self.processes(1)
        await executor.stop()
        await executor.start()
        self.assertEqual((await dispatcher.dispatch(get("/pid/"))).status, 200)


class StartTests(ExecutorTestCase):
    """start() fails with the reason why there can be no workers."""

    def module(self, text: str) -> str:
        path = os.path.abspath(self.mktemp()) + ".py"
        with open(path, "w") as made:
            made.write(text)
        return path

    async def fails(self, text: str, *said: str) -> None:
        executor = ProcessExecutor(reactor, self.module(text), 1, Router([("/x/", cases.pid)]))
        self.addCleanup(executor.stop)
        failure = await self.assertFailure(executor.start(), ConfigurationError)
        for words in said:
            self.assertIn(words, str(failure))
        self.assertNotIn("\n", str(failure))

    async def test_import_error_is_reported(self) -> None:
        """An application that cannot be imported there."""
        await self.fails("import no_such_module", "no_such_module")

    async def test_exit_during_import_is_reported(self) -> None:
        """An application that ends its process when imported."""
        await self.fails("import os; os._exit(7)", "7")
        await self.fails("import sys; sys.exit('why')", "why")

    async def test_different_table_is_reported(self) -> None:
        """An application whose table is another one there."""
        await self.fails("url_patterns = ()", "url_patterns", "reload")
        await self.fails(
            "from tests.support.cases import pid\nurl_patterns = ((r'/y/', pid),)", "url_patterns"
        )

    async def test_missing_table_is_reported(self) -> None:
        """A module without a table."""
        await self.fails("", "url_patterns")


class ProgressTests(SynchronousTestCase):
    def test_full_disk_leaves_no_file_or_descriptor(self) -> None:
        """Without disk space, no file and no descriptor is left."""
        folder = os.path.abspath(self.mktemp())
        os.mkdir(folder)
        self.patch(tempfile, "tempdir", folder)
        with patch("os.write", side_effect=OSError(errno.ENOSPC, "no space")):
            self.assertRaises(OSError, Progress)
        self.assertEqual(os.listdir(folder), [])
        made = os.open(os.devnull, os.O_RDONLY)
        os.close(made)
        with patch("os.write", side_effect=OSError(errno.ENOSPC, "no space")):
            self.assertRaises(OSError, Progress)
        again = os.open(os.devnull, os.O_RDONLY)
        os.close(again)
        self.assertEqual(again, made)  # the lowest that is free


class TamperingTests(ExecutorTestCase):
    """Functions run in the workers, so the server checks everything that a worker sends."""

    async def start(self) -> tuple[ProcessExecutor, Dispatcher]:
        executor = ProcessExecutor(reactor, "tests.support.tampering", 1)
        self.addCleanup(executor.stop)
        await executor.start()
        return executor, self.dispatcher(executor, "processes")

    async def refused(self, dispatcher: Dispatcher, call: Call) -> None:
        """The call is answered 502, since its worker is killed, and the log says why."""
        lines = self.logged()
        reply = await dispatcher.dispatch(call)
        self.assertEqual(reply.status, 502, reply)
        await self.until(lambda: any("killed by SIGKILL: it " in line for line in lines))

    @slow
    async def test_invalid_replies_are_never_sent(self) -> None:
        """A reply that would break the connection is not sent, whatever is wrong with it."""
        executor, dispatcher = await self.start()
        for kind in tampering.REPLIES:
            self.assertEqual((await dispatcher.dispatch(get("/tampers/", kind=kind))).status, 200, kind)
            await self.refused(dispatcher, get("/tampers/", kind=kind))
            await self.until(lambda: executor.pids)

    @slow
    async def test_invalid_frames_kill_the_worker(self) -> None:
        """Frames that are too long, malformed or out of order are refused."""
        executor, dispatcher = await self.start()
        for kind in ("length", "noise", "end", "duration", "negative", "again"):
            lines = self.logged()
            await dispatcher.dispatch(get("/writes/", kind=kind))
            await self.until(lambda lines=lines: any("killed by SIGKILL: it " in line for line in lines))
            await self.until(lambda: executor.pids)
        self.assertEqual((await dispatcher.dispatch(get("/long/", size=1))).status, 200)

    async def test_empty_parts_are_left_out(self) -> None:
        """A part without data is left out: as a chunk it would end the body."""
        _, dispatcher = await self.start()
        reply = await dispatcher.dispatch(get("/empty_part/", n=3))
        parts: list[bytes] = []
        ended: Deferred[str] = Deferred()
        reply.body.begin(parts.append, ended.callback)
        self.assertEqual(await ended, "")
        self.assertEqual(parts, [b'{"n":%d}\n' % number for number in range(3)])

    async def test_result_longer_than_a_frame_is_a_fault_of_the_function(self) -> None:
        """A result that is too long for a frame is an error of the function; its worker continues."""
        executor, dispatcher = await self.start()
        before = executor.pids
        reply = await dispatcher.dispatch(get("/long/", size=2000))
        self.assertEqual(reply.status, 500)
        self.assertIn("cannot be sent at once", reply.traceback)
        reply = await dispatcher.dispatch(get("/long_part/", size=2000))
        ended: Deferred[str] = Deferred()
        reply.body.begin(lambda data: None, ended.callback)
        self.assertIn("cannot be sent at once", await ended)
        self.assertEqual((await dispatcher.dispatch(get("/long/", size=1))).status, 200)
        self.assertEqual(executor.pids, before)
