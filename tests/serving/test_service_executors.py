"""Tests of routes that run in worker processes next to routes that run in threads, in one service."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support.wire import connect, exchange, fetch, request
from twisted_appserver import (
    FORKED_SERVER,
    THREADED_SERVER,
    ConfigurationError,
    Route,
    make_service,
)
from twisted_appserver.executors.processes.executor import ProcessExecutor
from twisted_appserver.serving import service_executors
from twisted_appserver.serving.service import AppService
from twisted_appserver.testing import Client

APP = """
import os
from tests.support.cases import dies, holds
from twisted_appserver import Call, Route

def place():
    return {{"pid": os.getpid(), "version": {version}}}

def here():
    return place()

def call(call: Call):
    return {{"id": call.request_id, "pid": os.getpid()}}

def items(number: int):
    for each in range(number):
        yield {{"item": each, "pid": os.getpid()}}

async def coroutine():
    return place()

url_patterns = [
    (r"/light/", here),
    (r"/coroutine/", coroutine),
    (r"/light/holds/", holds),
    *(
        Route(regex, function, executor={heavy!r}, timeout=timeout)
        for regex, function, timeout in (
            (r"/heavy/", here, None),
            (r"/heavy/call/", call, None),
            (r"/heavy/items/(?P<number>)/", items, None),
            (r"/heavy/holds/", holds, None),
            (r"/heavy/late/", holds, 0.2),
            (r"/heavy/dies/(?P<how>)/", dies, None),
        )
    ),
]
"""
LATER = (("Prefer", "respond-async"),)


class MixedTestCase(TestCase):
    timeout = 60

    def setUp(self) -> None:
        """Restore the modules after the test, because a reload imports them again."""
        self.addCleanup(sys.modules.update, dict(sys.modules))
        self.patch(service_executors, "IDLE_CHECK_INTERVAL", 0.01)

    def write(self, text: str = APP, version: int = 1, heavy: str | None = "processes") -> None:
        """Write a version of the application."""
        self.file.write_text(text.format(version=version, heavy=heavy))
        os.utime(self.file, (10**9 + 10 * version, 10**9 + 10 * version))

    async def start(self, heavy: str | None = "processes", **options: Any) -> tuple[AppService, int]:
        """Start a service whose functions below C{/heavy/} have this executor. Return it and its port."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.addCleanup(lambda: str(folder) in sys.path and sys.path.remove(str(folder)))
        self.file = folder / f"mixed_{os.urandom(4).hex()}.py"
        self.write(heavy=heavy)
        options = {"port": 0, "workers": 1, "graceful_timeout": 10, **options}
        service = make_service(app=str(self.file), **options)
        service.startService()
        self.addCleanup(lambda: service.stopService() if service.running else None)
        await service.started
        return service, service.ports[0].getHost().port

    def pool(self, service: AppService) -> Any:
        executor: Any = service.dispatcher.executors["processes"]
        return executor.pool

    async def until(self, condition: Any) -> None:
        while not condition():
            await deferLater(reactor, 0.005)

    async def held(self, port: int, target: str) -> tuple[Deferred[Any], str]:
        """Begin a call that runs until the file of the returned path is removed."""
        path = os.path.abspath(self.mktemp())
        answer = Deferred.fromCoroutine(fetch(port, f"{target}?path={path}"))
        await self.until(lambda: os.path.exists(path))
        self.addCleanup(lambda: os.path.exists(path) and os.remove(path))
        return answer, path


class CallTests(MixedTestCase):
    async def test_each_route_runs_where_it_says(self) -> None:
        """A route may run in worker processes of a threaded service, or in threads of a forked one."""
        service, port = await self.start()
        heavy = (await fetch(port, "/heavy/")).json["pid"]
        self.assertEqual([heavy], [worker.pid for worker in self.pool(service).workers])
        for light in ("/light/", "/coroutine/"):
            self.assertEqual((await fetch(port, light)).json["pid"], os.getpid())
        self.assertIn("threaded, 10 threads, 1 worker", service.line())
        service, port = await self.start("threads", server_type=FORKED_SERVER, threads=3)
        self.assertEqual((await fetch(port, "/heavy/")).json["pid"], os.getpid())
        self.assertNotEqual((await fetch(port, "/light/")).json["pid"], os.getpid())
        self.assertIn("forked, 1 worker, 3 threads", service.line())

    async def test_service_without_such_a_route_has_no_worker_processes(self) -> None:
        """Without such a route a threaded service starts no worker process."""
        service, _ = await self.start("threads")
        self.assertEqual([*service.dispatcher.executors], ["inline", "admin", "resources", "threads"])

    async def test_late_call_gets_504_and_its_worker_is_replaced(self) -> None:
        """A call over its time limit gets 504, and its worker process is killed and replaced."""
        _, port = await self.start()
        before = (await fetch(port, "/heavy/")).json["pid"]
        path = os.path.abspath(self.mktemp())
        self.assertEqual((await fetch(port, f"/heavy/late/?path={path}")).status, 504)
        self.assertNotEqual((await fetch(port, "/heavy/")).json["pid"], before)
        self.assertEqual((await fetch(port, "/-/status.json")).json["restarts"], 1)
        self.flushLoggedErrors()

    async def test_crash_of_a_heavy_function_leaves_the_server_alone(self) -> None:
        """A function that crashes its worker process gets 502; calls in threads do not notice."""
        _, port = await self.start()
        running, path = await self.held(port, "/light/holds/")
        self.assertEqual((await fetch(port, "/heavy/dies/SIGSEGV/")).status, 502)
        os.remove(path)
        self.assertEqual((await running).status, 200)
        self.assertEqual((await fetch(port, "/heavy/")).status, 200)

    async def test_streams_jobs_and_request_ids_work_in_both_places(self) -> None:
        """Generators stream, calls become jobs and keep their request ids, in worker processes too."""
        _, port = await self.start()
        answer = await fetch(port, "/heavy/items/3/")
        lines = answer.body.splitlines()
        self.assertEqual([line.partition(b",")[0] for line in lines], [b'{"item":%d' % n for n in range(3)])
        self.assertNotIn(b'"pid":%d}' % os.getpid(), answer.body)
        sent = request("GET", "/heavy/call/", headers=(("X-Request-ID", "mine"),))
        self.assertEqual((await exchange(port, sent)).json["id"], "mine")
        job = (await exchange(port, request("GET", "/heavy/items/3/", headers=LATER))).json["job"]
        shown: dict[str, Any] = {"state": ""}
        while shown["state"] != "done":
            shown = (await fetch(port, f"/-/jobs/{job}")).json
        self.assertEqual(shown["result"]["item"], 2)

    async def test_workers_are_replaced_after_max_requests(self) -> None:
        """The options of worker processes apply: a worker is replaced after C{max_requests} calls."""
        _, port = await self.start(max_requests=2)
        connection, pids = await connect(port), set()
        while len(pids) < 2:
            pids.add((await connection.send(request("GET", "/heavy/"))).json["pid"])
        await connection.close()
        self.assertEqual((await fetch(port, "/-/status.json")).json["restarts"], 0)

    async def test_full_queue_of_the_workers_does_not_reject_light_calls(self) -> None:
        """Too many waiting heavy calls get 503. Calls in threads still run, and the service stays ready."""
        service, port = await self.start(max_pending=1)
        (running, first), path = await self.held(port, "/heavy/holds/"), os.path.abspath(self.mktemp())
        waiting = Deferred.fromCoroutine(fetch(port, f"/heavy/holds/?path={path}"))
        await self.until(lambda: service.dispatcher.executors["processes"].pending)
        self.assertEqual((await fetch(port, "/heavy/")).status, 503)
        self.assertEqual((await fetch(port, "/light/")).status, 200)
        self.assertEqual((await fetch(port, "/-/ready")).status, 200)
        os.remove(first)
        await self.until(lambda: os.path.exists(path))
        os.remove(path)
        self.assertEqual([(await each).status for each in (running, waiting)], [200, 200])

    async def test_service_is_ready_when_its_workers_are(self) -> None:
        """The service is not ready while no worker process is, at its start and after all have died."""
        service, port = await self.start()
        self.assertEqual((await fetch(port, "/-/ready")).status, 200)
        await service.stopService()
        service.startService()
        port = service.ports[0].getHost().port
        answer = await fetch(port, "/-/ready")
        self.assertEqual(answer.status, 503)
        self.assertIn("no worker process is ready", answer.json["detail"])
        await service.started
        self.assertEqual((await fetch(port, "/-/ready")).status, 200)

    async def test_status_page_shows_threads_and_workers(self) -> None:
        """The status and the metrics count the calls and the places of both executors."""
        _, port = await self.start(threads=3)
        for target in ("/light/", "/heavy/", "/heavy/"):
            await fetch(port, target)
        status = (await fetch(port, "/-/status.json")).json
        self.assertEqual([worker["calls"] for worker in status["workers"]], [2])
        self.assertEqual((status["completed"], status["failed"]), (3, 0))
        metrics = (await fetch(port, "/-/metrics")).body
        self.assertIn(b"\nappserver_size 4.0\n", metrics)
        self.assertIn(b"\nappserver_completed_total 3.0\n", metrics)

    async def test_stop_finishes_heavy_calls_and_leaves_no_process(self) -> None:
        """A stopping service answers the calls in its workers, and then ends these."""
        service, port = await self.start()
        running, path = await self.held(port, "/heavy/holds/")
        stopped = service.stopService()
        self.assertNoResult(stopped)
        os.remove(path)
        self.assertEqual((await running).status, 200)
        await stopped
        self.assertEqual(self.pool(service).workers, [])


class ReloadTests(MixedTestCase):
    async def test_first_such_route_starts_the_workers(self) -> None:
        """A reload that adds the first such route starts the worker processes before it takes effect."""
        service, port = await self.start(None)
        self.write(version=2)
        reloaded = service.reload()
        while not reloaded.called:
            self.assertEqual((await fetch(port, "/heavy/")).json["pid"], os.getpid())
            self.assertEqual((await fetch(port, "/-/ready")).status, 200)
        await reloaded
        found = (await fetch(port, "/heavy/")).json
        self.assertEqual(found, {"pid": self.pool(service).workers[0].pid, "version": 2})
        await self.check_reload(service, port, 3)

    async def check_reload(self, service: AppService, port: int, version: int) -> None:
        """A reload replaces the worker processes."""
        before = (await fetch(port, "/heavy/")).json["pid"]
        self.write(version=version)
        await service.reload()
        found = (await fetch(port, "/heavy/")).json
        self.assertEqual(found["version"], version)
        self.assertNotEqual(found["pid"], before)
        self.assertEqual((await fetch(port, "/light/")).json, {"pid": os.getpid(), "version": version})

    async def test_last_such_route_ends_the_workers(self) -> None:
        """A reload that removes the last one ends them when they have finished; another starts them again."""
        service, port = await self.start()
        running, path = await self.held(port, "/heavy/holds/")
        worker = self.pool(service).workers[0].pid
        self.write(version=2, heavy=None)
        await service.reload()
        self.assertEqual((await fetch(port, "/heavy/")).json, {"pid": os.getpid(), "version": 2})
        checks: list[bool] = []
        idle: Any = ProcessExecutor.idle.fget  # type: ignore[attr-defined]
        self.patch(ProcessExecutor, "idle", property(lambda pool: checks.append(idle(pool)) or checks[-1]))
        await self.until(lambda: checks)
        self.assertEqual([each.pid for each in self.pool(service).workers], [worker])
        os.remove(path)
        self.assertEqual((await running).json, {"pid": worker})
        await self.until(lambda: not self.pool(service).workers)
        self.assertEqual((await fetch(port, "/-/status.json")).json["completed"], 2)
        self.assertEqual((await fetch(port, "/-/ready")).status, 200)
        self.assertIn("threaded, 10 threads", service.line())
        self.write(version=3)
        await service.reload()
        self.assertEqual((await fetch(port, "/heavy/")).json["pid"], self.pool(service).workers[0].pid)
        await self.check_reload(service, port, 4)

    async def test_waiting_call_moves_to_where_its_new_function_runs(self) -> None:
        """A call that waits for a worker process moves to the reactor if its function is a coroutine now."""
        service, port = await self.start("threads", server_type=FORKED_SERVER)
        running, path = await self.held(port, "/light/holds/")
        waiting = Deferred.fromCoroutine(fetch(port, "/light/"))
        await self.until(lambda: service.executor.pending)
        self.write(APP.replace('/light/", here', '/light/", coroutine'), version=2, heavy="threads")
        await service.reload()
        self.assertEqual((await waiting).json, {"pid": os.getpid(), "version": 2})
        os.remove(path)
        self.assertEqual((await running).status, 200)
        self.assertEqual(service.dispatcher.in_flight, 0)

    async def test_workers_that_are_wanted_again_stay(self) -> None:
        """If a reload wants the worker processes again before they have ended, they are renewed."""
        service, port = await self.start()
        running, path = await self.held(port, "/heavy/holds/")
        self.write(version=2, heavy=None)
        await service.reload()
        self.write(version=3)
        await service.reload()
        self.assertEqual((await fetch(port, "/heavy/")).json["version"], 3)
        os.remove(path)
        self.assertEqual((await running).status, 200)
        await self.until(lambda: len(self.pool(service).workers) == 1)
        self.assertEqual((await fetch(port, "/heavy/")).json["version"], 3)

    async def test_workers_that_cannot_start_keep_the_previous_code(self) -> None:
        """If the first worker processes cannot start, the reload fails, and nothing is left of them."""
        service, port = await self.start(None)
        text = "import sys\nassert not sys.argv[0].endswith('worker_main.py'), 'not in workers'\n" + APP
        self.write(text, version=2)
        error = await self.assertFailure(service.reload(), ConfigurationError)
        self.assertIn("not in workers", str(error))
        self.assertEqual(self.pool(service).workers, [])
        pools = [getattr(each.func, "__self__", None) for each in reactor.getDelayedCalls()]
        self.assertNotIn(self.pool(service), pools, "the pool will start another worker")
        self.assertEqual((await fetch(port, "/heavy/")).json, {"pid": os.getpid(), "version": 1})
        self.assertEqual((await fetch(port, "/-/ready")).status, 200)
        await self.check_start_after_failure(service, port)

    async def check_start_after_failure(self, service: AppService, port: int) -> None:
        self.write(version=3)
        await service.reload()
        self.assertEqual((await fetch(port, "/heavy/")).json["pid"], self.pool(service).workers[0].pid)

    async def test_stop_during_the_reload_leaves_no_process(self) -> None:
        """A service that is stopped while a reload starts the first workers leaves none of them."""
        service, _ = await self.start(None)
        self.write(version=2)
        reloaded = service.reload()
        self.assertNoResult(reloaded)
        failed = self.assertFailure(reloaded, ConfigurationError)
        await service.stopService()
        await failed
        self.assertEqual(self.pool(service).workers, [])


def function() -> dict[str, Any]:
    return {}


class TableTests(SynchronousTestCase):
    def refused(self, executor: str, **options: Any) -> str:
        patterns = [Route("/x/", function, executor=executor)]
        return str(self.assertRaises(ConfigurationError, make_service, patterns, **options))

    def test_unknown_executor_is_refused_with_the_closest_name(self) -> None:
        """A name that does not exist is refused in one line, with the place and the closest name."""
        error = self.refused("proceses")
        self.assertEqual(
            error, "url_patterns[0] '/x/': unknown executor 'proceses'; did you mean 'processes'?"
        )
        self.assertIn("use one of inline, threads, processes, cluster", self.refused("somewhere"))

    def test_internal_executors_cannot_be_chosen(self) -> None:
        """Functions cannot run where the service's own pages or Twisted resources run."""
        for name in ("admin", "resources"):
            self.assertIn(f"unknown executor '{name}'", self.refused(name))

    def test_table_that_workers_cannot_import_is_refused(self) -> None:
        """A table that was passed as an argument is refused: worker processes could not import it."""
        self.assertIn("app=", self.refused("processes", server_type=THREADED_SERVER))

    def test_coroutine_in_worker_processes_is_reported(self) -> None:
        """A coroutine function runs on the reactor, and a note says that its Route wants something else."""

        async def coroutine() -> dict[str, Any]:
            return {}

        service = make_service([Route("/x/", coroutine, executor="processes")])
        (note,) = service.dispatcher.router.notes
        self.assertIn("coroutine runs on the reactor, and not on 'processes'", note)

    def test_test_client_runs_such_routes(self) -> None:
        """The client for tests runs such a route too, in the thread of the test."""
        client = Client([Route("/x/", lambda: {"pid": os.getpid()}, executor="processes")])
        self.assertEqual(client.get("/x/").json, {"pid": os.getpid()})
