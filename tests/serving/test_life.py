"""Tests of how workers and servers live: replaced new before old, loaded again, and ended."""

from __future__ import annotations

import gc
import os
import resource
import signal
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from tests.serving.test_command import CommandTestCase
from tests.support import cases
from tests.support.executor_test_case import APPLICATION, ExecutorTestCase, get, json_of
from tests.support.programs import Program
from tests.support.slow import slow
from tests.support.wire import connect, fetch, request
from twisted_appserver import ConfigurationError, ProcessExecutor, Router
from twisted_appserver.dispatch.retry_after import EVERY, LONGEST, Refusals
from twisted_appserver.executors.processes import pool, worker_process

VERSION = """\
import os, time

from twisted_appserver import Route

def version():
    return {{"version": {0}, "pid": os.getpid()}}

async def inline():
    return {{"version": {0}}}

def hangs(path: str):
    open(path, "w").close()
    while True:
        time.sleep(1000)

url_patterns = (
    (r"/version/", version),
    (r"/inline/", inline),
    (r"/hangs/", hangs),
    Route(r"/hangs_beside/", hangs, executor="threads"),
)
"""

QUEUES = """\
from twisted_appserver import include
from twisted_appserver.tqueue import url_patterns as queues
from twisted_appserver.queue.backends import open_store

url_patterns = (include("/queues", queues(open_store("sqlite:{}"))),)
"""


class ReplacementTests(ExecutorTestCase):
    async def pool(self, size: int, **options: Any) -> tuple[ProcessExecutor, Any]:
        executor = ProcessExecutor(reactor, APPLICATION, size, **options)
        self.addCleanup(executor.stop)
        await executor.start()
        return executor, self.dispatcher(executor, "processes")

    async def test_worker_is_replaced_after_max_requests_without_failing_calls(self) -> None:
        """The pool keeps its size."""
        executor, dispatcher = await self.pool(2, max_requests=20)
        seen: set[int] = set()
        while len(seen) <= 4:
            replies = await gatherResults([dispatcher.dispatch(get("/pid/")) for _ in range(20)])
            self.assertEqual({reply.status for reply in replies}, {200})
            seen |= {json_of(reply)["pid"] for reply in replies}
            self.assertTrue(executor.pids)
        await self.until(lambda: len(executor.pool.workers) == 2)
        self.assertEqual(executor.failed, 0)

    async def test_worker_above_max_rss_is_replaced_without_failing_calls(self) -> None:
        """While it receives calls."""
        with patch.object(pool, "MEMORY_CHECK_INTERVAL", 0.02):
            executor, dispatcher = await self.pool(1, max_rss=1)
            (first,) = executor.pids
            reply = None
            while reply is None or json_of(reply)["pid"] == first:
                reply = await dispatcher.dispatch(get("/pid/"))
                self.assertEqual(reply.status, 200)
            await executor.stop()
        roomy, dispatcher = await self.pool(1, max_rss=10**12)
        self.assertEqual(json_of(await dispatcher.dispatch(get("/pid/")))["pid"], roomy.pids[0])
        self.assertGreater(roomy.pool.workers[0].memory(), 10**6)

    async def test_replaced_worker_finishes_its_call_first(self) -> None:
        executor, dispatcher = await self.pool(1)
        path = os.path.abspath(self.mktemp())
        held = dispatcher.dispatch(get("/holds/", path=path))
        holder = await self.holder(path)
        executor.pool.replace(executor.pool.workers[0])
        await self.until(lambda: executor.pids and executor.pids != [holder])
        self.assertNotEqual(json_of(await dispatcher.dispatch(get("/pid/")))["pid"], holder)
        os.remove(path)
        self.assertEqual(json_of(await held), {"pid": holder})
        await self.until(lambda: len(executor.pool.workers) == 1)

    async def test_reload_replaces_all_workers_and_waiting_calls_go_to_new_ones(self) -> None:
        executor, dispatcher = await self.pool(2)
        before = set(executor.pids)
        router = Router(cases.url_patterns)
        reloaded = executor.reload(router)
        replies = [dispatcher.dispatch(get("/pid/")) for _ in range(50)]
        await reloaded
        dispatcher.router = router
        replies += [dispatcher.dispatch(get("/pid/")) for _ in range(50)]
        pids = [json_of(reply)["pid"] for reply in await gatherResults(replies)]
        self.assertFalse(set(pids[50:]) & before)
        self.assertEqual(executor.failed, 0)

    async def test_new_workers_killed_before_they_are_ready_do_not_stop_a_reload(self) -> None:
        """They are started again, and the new code is served."""
        executor, _ = await self.pool(2)
        before = set(executor.pids)
        reloaded = executor.reload(Router(cases.url_patterns))
        for worker in executor.pool.workers[2:]:
            os.kill(worker.pid, signal.SIGKILL)
        await reloaded
        self.assertEqual((len(executor.pids), set(executor.pids) & before), (2, set()))

    async def test_new_workers_killed_when_ready_do_not_stop_a_reload(self) -> None:
        """They are killed while they wait for the others."""
        executor, _ = await self.pool(2)
        before = set(executor.pids)
        reloaded = executor.reload(Router(cases.url_patterns))
        late, early = executor.pool.workers[2:]
        os.kill(late.pid, signal.SIGSTOP)
        await self.until(lambda: early.was_ready)
        self.assertFalse(early.ready)
        os.kill(early.pid, signal.SIGKILL)
        await self.until(lambda: early not in executor.pool.workers)
        os.kill(late.pid, signal.SIGCONT)
        await reloaded
        self.assertEqual((len(executor.pids), set(executor.pids) & before), (2, set()))
        await self.until(lambda: len(executor.pool.workers) == 2)

    async def test_old_worker_that_dies_during_a_reload_is_not_replaced(self) -> None:
        """Neither during the reload nor after it."""
        executor, _ = await self.pool(2)
        reloaded = executor.reload(Router(cases.url_patterns))
        old, _, late, _ = executor.pool.workers
        os.kill(late.pid, signal.SIGSTOP)
        os.kill(old.pid, signal.SIGKILL)
        await self.until(lambda: old not in executor.pool.workers)
        os.kill(late.pid, signal.SIGCONT)
        await reloaded
        executor.pool._respawn()  # as a timer would
        await self.until(lambda: not any(worker.retired for worker in executor.pool.workers))
        self.assertEqual(len(executor.pool.workers), 2)

    async def test_deaths_after_one_worker_was_ready_do_not_fail_the_start(self) -> None:
        executor = ProcessExecutor(reactor, APPLICATION, 2)
        self.addCleanup(executor.stop)
        started = executor.start()
        early, late = executor.pool.workers
        os.kill(late.pid, signal.SIGSTOP)
        await self.until(lambda: early.ready)
        for worker in (early, late):
            os.kill(worker.pid, signal.SIGKILL)
        await started
        self.assertEqual(len(executor.pids), 2)

    async def test_worker_starts_as_soon_as_descriptors_are_free(self) -> None:
        executor, dispatcher = await self.pool(1)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            await self.assertFailure(executor.reload(Router(cases.url_patterns)), ConfigurationError)
            executor.pool.start_error = ""  # forget the error of the reload
            reply = dispatcher.dispatch(get("/dies/SIGKILL/"))
            self.assertEqual((await reply).status, 502)
            await self.until(lambda: "cannot be started" in executor.unready())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.assertEqual((await dispatcher.dispatch(get("/pid/"))).status, 200)
        self.assertEqual((len(executor.pool.workers), executor.unready()), (1, ""))

    async def test_worker_that_cannot_start_leaves_no_file(self) -> None:
        """The system refuses to start its process."""
        executor, _ = await self.pool(1)
        folder = self.mktemp()
        os.mkdir(folder)
        refused = patch.object(reactor, "spawnProcess", side_effect=OSError(11))
        with patch("tempfile.tempdir", folder), refused:
            await self.assertFailure(executor.reload(Router(cases.url_patterns)), ConfigurationError)
        self.assertEqual(os.listdir(folder), [])

    @slow
    async def test_dead_workers_leave_no_descriptors(self) -> None:
        executor, dispatcher = await self.pool(1)
        gc.disable()  # it would close forgotten descriptors sooner or later
        self.addCleanup(gc.enable)
        counts = []
        for _ in range(4):
            reply = await dispatcher.dispatch(get("/dies/SIGKILL/"))
            self.assertEqual(reply.status, 502)
            await self.until(lambda: not executor.unready() and len(executor.pool.workers) == 1)
            await executor.reload(Router(cases.url_patterns))
            dispatcher.router = executor.router
            await self.until(lambda: len(executor.pool.workers) == 1)
            counts.append(len(os.listdir("/proc/self/fd")))
        self.assertEqual(len(set(counts)), 1, counts)

    async def test_old_workers_stay_if_new_ones_cannot_start(self) -> None:
        """They also stay if the new workers have another table."""
        executor, dispatcher = await self.pool(2)
        before = set(executor.pids)
        reloaded = executor.reload(Router([(r"/other/", cases.pid)]))
        error = await self.assertFailure(reloaded, ConfigurationError)
        self.assertIn("differ", str(error))
        self.assertEqual(set(executor.pids), before)
        self.assertIn(json_of(await dispatcher.dispatch(get("/pid/")))["pid"], before)

    async def test_pool_reports_why_it_is_not_ready(self) -> None:
        """Later it reports that it is ready again."""
        executor, _ = await self.pool(1)
        self.assertEqual(executor.unready(), "")
        (pid,) = executor.pids
        os.kill(pid, signal.SIGKILL)
        await self.until(executor.unready)
        self.assertIn("no worker process is ready", executor.unready())
        await self.until(lambda: not executor.unready())


class PauseTests(SynchronousTestCase):
    def test_pause_stays_finite_after_any_number_of_failures(self) -> None:
        workers = pool.WorkerPool(None, Clock(), APPLICATION, 1, 0, 0)
        workers._failures = 5000
        self.assertEqual(workers._backoff(pool.MAX_BACKOFF), pool.MAX_BACKOFF)


class StuckTests(ExecutorTestCase):
    """Workers that are frozen or hang."""

    async def pool(self, size: int = 1, **options: Any) -> tuple[ProcessExecutor, Any]:
        executor = ProcessExecutor(reactor, APPLICATION, size)
        self.addCleanup(executor.stop)
        await executor.start()
        return executor, self.dispatcher(executor, "processes", **options)

    async def test_worker_frozen_before_a_call_is_replaced_at_the_time_limit(self) -> None:
        """The time limit of the call."""
        executor, dispatcher = await self.pool(timeout=0.5)
        (pid,) = executor.pids
        os.kill(pid, signal.SIGSTOP)
        replies = await gatherResults([dispatcher.dispatch(get("/pid/")) for _ in range(3)])
        self.assertEqual([reply.status for reply in replies], [504] * 3)
        await self.until(lambda: executor.pids and executor.pids != [pid])
        self.assertEqual((executor.running, executor.pending), (0, 0))

    async def test_calls_of_a_frozen_worker_move_to_a_free_one(self) -> None:
        """The frozen worker is replaced."""
        with patch.object(worker_process, "STALL_TIMEOUT", 0.2):
            executor, dispatcher = await self.pool(2)
            (pid, other) = executor.pids
            os.kill(pid, signal.SIGSTOP)
            replies = await gatherResults([dispatcher.dispatch(get("/pid/")) for _ in range(20)])
            self.assertEqual([reply.status for reply in replies], [200] * 20)
            self.assertEqual({json_of(reply)["pid"] for reply in replies}, {other})
            await self.until(lambda: len(executor.pids) == 2 and pid not in executor.pids)
        self.assertEqual((executor.running, executor.pending, executor.completed), (0, 0, 20))

    async def test_new_worker_that_hangs_is_killed_and_old_code_stays(self) -> None:
        """It does not become ready in time."""
        executor, _ = await self.pool()
        before = executor.pids
        with patch.object(pool, "RELOAD_TIMEOUT", 0.2):
            reloaded = executor.reload(Router(cases.url_patterns))
            os.kill(executor.pool.workers[1].pid, signal.SIGSTOP)
            error = await self.assertFailure(reloaded, ConfigurationError)
        self.assertIn("not ready after 0.2 seconds", str(error))
        await self.until(lambda: len(executor.pool.workers) == 1)
        self.assertEqual(executor.pids, before)
        await executor.reload(Router(cases.url_patterns))
        self.assertNotEqual(executor.pids, before)

    async def test_replaced_worker_is_killed_though_a_thread_keeps_it_alive(self) -> None:
        """A function started the thread."""
        with patch.object(worker_process, "RETIRE_TIMEOUT", 0.2):
            executor, dispatcher = await self.pool()
            first = json_of(await dispatcher.dispatch(get("/leaves_thread/")))["pid"]
            await executor.reload(Router(cases.url_patterns))
            await self.until(lambda: len(executor.pool.workers) == 1)
        self.assertNotIn(first, executor.pids)

    async def test_left_thread_does_not_keep_the_pool_from_stopping(self) -> None:
        executor, dispatcher = await self.pool()
        self.assertEqual((await dispatcher.dispatch(get("/leaves_thread/"))).status, 200)
        await executor.stop()
        self.assertEqual(executor.pool.workers, [])

    async def test_frozen_worker_does_not_keep_the_pool_from_stopping(self) -> None:
        executor, _ = await self.pool()
        os.kill(executor.pids[0], signal.SIGSTOP)
        await executor.stop()
        self.assertEqual(executor.pool.workers, [])

    async def test_death_of_a_worker_that_forked_is_noticed(self) -> None:
        """The process that it forked keeps all its descriptors open."""
        executor, dispatcher = await self.pool()
        path = os.path.abspath(self.mktemp())
        reply = dispatcher.dispatch(get("/forks/", path=path))
        child = await self.holder(path)
        gone = executor.pool.workers[0]
        try:
            answer = await reply.addTimeout(10, reactor)
        finally:
            os.kill(child, signal.SIGKILL)
        self.assertEqual(answer.status, 502)
        self.assertEqual((await dispatcher.dispatch(get("/pid/"))).status, 200)
        await self.until(lambda: not gone.transport.pipes)


class LostThreadsTests(ExecutorTestCase):
    async def test_service_is_unready_and_logs_where_all_threads_hang(self) -> None:
        """They hang in calls whose clients no longer wait."""
        executor, dispatcher = await self.threads(2, timeout=0.2)
        lines = self.logged()
        paths = [os.path.abspath(self.mktemp()) for _ in range(2)]
        replies = await gatherResults([dispatcher.dispatch(get("/holds/", path=path)) for path in paths])
        self.assertEqual([reply.status for reply in replies], [504, 504])
        self.assertIn("all 2 threads are lost", executor.unready())
        self.assertIn("holds", executor.unready())
        (line,) = (line for line in lines if "are lost" in line)
        self.assertIn("cases.py", line)
        os.remove(paths[0])
        await self.until(lambda: not executor.unready())
        os.remove(paths[1])
        await self.until(lambda: not executor.running)


class RefusalsTests(SynchronousTestCase):
    class Executor:
        completed = failed = 0
        pending = 100

    def test_retry_after_follows_the_measured_rate(self) -> None:
        """C{Retry-After} is the time that the waiting calls take at the rate of the last seconds."""
        clock, executor = Clock(), self.Executor()
        refusals = Refusals(clock)
        self.assertEqual(refusals.retry_after(executor), 1)
        for _ in range(10):
            clock.advance(EVERY)
            executor.completed += 2
            seconds = refusals.retry_after(executor)
        self.assertEqual(seconds, 9)
        for _ in range(100):
            clock.advance(EVERY)
            executor.completed += 200
            seconds = refusals.retry_after(executor)
        self.assertEqual(seconds, 1)
        for _ in range(100):
            clock.advance(EVERY)
            seconds = refusals.retry_after(executor)
        self.assertEqual(seconds, LONGEST)


class ServerTests(CommandTestCase):
    """Real servers. C{RELOADS=20} makes the tests longer."""

    timeout = 300

    def write(self, folder: str, text: str) -> None:
        """Write a new version of the application. Its file has a later time than the version before."""
        path = os.path.join(folder, "app.py")
        self.later = getattr(self, "later", 10**9) + 10
        with open(path + ".new", "w") as file:
            file.write(text)
        os.utime(path + ".new", (self.later, self.later))
        os.replace(path + ".new", path)

    async def load(self, port: int, until: Callable[[int], bool], path: str) -> list[int]:
        """
        Call again and again on one connection until a version is served. Return all versions that were
        served.
        """
        connection, seen = await connect(port), [0]
        while not until(seen[-1]):
            answer = await connection.send(request("GET", path))
            self.assertEqual(answer.status, 200, answer.body)
            seen.append(answer.json["version"])
        await connection.close()
        return seen

    async def reloads(self, server_type: str, path: str, times: int = 4) -> None:
        times = int(os.environ.get("RELOADS", times))
        folder = self.folder_of()
        self.write(folder, VERSION.format(1))
        program = self.twistd("--port", "0", "--type", server_type, folder=folder)
        port = await program.port()
        while any(
            each["state"] == "starts" for each in (await fetch(port, "/-/status.json")).json["workers"]
        ):
            await deferLater(reactor, 0.01)
        loads = [Deferred.fromCoroutine(self.load(port, lambda n: n >= times + 1, path)) for _ in range(8)]
        for number in range(2, times + 2):
            self.write(folder, VERSION.format(number))
            program.signal("HUP")
            await self.load(port, lambda n, least=number: n >= least, path)  # type: ignore[misc]
        for seen in await gatherResults(loads):
            self.assertEqual(seen, sorted(seen))
        self.write(folder, "this is no Python\n")
        program.signal("HUP")
        await program.line("reload failed; still serving the previous code")
        self.assertEqual((await fetch(port, path)).json["version"], times + 1)
        await self.stopped(program)

    async def test_sighup_serves_new_code_without_failing_requests(self) -> None:
        """No request is answered by older code than the request before it."""
        await self.reloads("threaded", "/version/")

    @slow
    async def test_sighup_serves_new_code_in_workers_without_failing_requests(self) -> None:
        await self.reloads("forked", "/version/")

    @slow
    async def test_sighup_serves_new_code_on_the_reactor_without_failing_requests(self) -> None:
        """Coroutines of a server of type forked."""
        await self.reloads("forked", "/inline/", 2)

    async def test_sighup_keeps_queues_with_their_tasks_and_waiters(self) -> None:
        """Queues that are part of the application."""
        store = os.path.abspath(self.mktemp())
        program = self.twistd("--port", "0", folder=self.folder_of(app=QUEUES.format(store)))
        port = await program.port()
        await fetch(port, "/queues/q/put/?key=a:1")
        waiting = Deferred.fromCoroutine(fetch(port, "/queues/empty/get/?timeout=20"))
        program.signal("HUP")
        await program.line("application reloaded")
        self.assertEqual((await fetch(port, "/queues/q/qsize/")).json, {"worker": "q", "qsize": 1})
        put = (await fetch(port, "/queues/empty/put/")).json
        self.assertEqual((await waiting).json["task_id"], put["task_id"])
        await self.stopped(program)

    async def hanging(self, *words: str, route: str = "hangs") -> tuple[Program, str]:
        """Start a server, and call a function that hangs."""
        folder = self.folder_of(app=VERSION.format(1))
        program = self.twistd("--port", "0", *words, folder=folder)
        path = os.path.join(folder, "hangs")
        port = await program.port()
        connection = await connect(port)
        connection.send(request("GET", f"/{route}/?path={path}")).addErrback(lambda _: None)
        while not os.path.exists(path):
            await deferLater(reactor, 0.01)
        return program, path

    @slow
    async def test_hanging_thread_does_not_keep_the_server_from_exiting(self) -> None:
        """It ends with status 0 after its grace period."""
        for words in ((), ("--type", "forked")):  # beside worker processes too
            program, _ = await self.hanging("--graceful-timeout", "0.2", *words, route="hangs_beside")
            await self.stopped(program)
            self.assertIn("hang in their threads", program.output)

    async def test_workers_end_when_the_server_is_killed(self) -> None:
        """Even one that runs a function."""
        program, _ = await self.hanging("--type", "forked", "--workers", "2")
        self.assertEqual(len(program.processes()), 3)
        program.signal("KILL")
        await program.ended
        while program.processes():
            await deferLater(reactor, 0.02)
