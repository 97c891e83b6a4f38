"""Tests of the type C{cluster}: real servers, with Dask clusters of their own or of others."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.task import Clock, deferLater

from tests.serving.test_command import TWISTD, CommandTestCase
from tests.support import cases, streaming
from tests.support.programs import Program
from tests.support.slow import slow
from tests.support.wire import exchange, fetch, request
from twisted_appserver.core.application import Application
from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.handler import Handler
from twisted_appserver.core.perform import perform
from twisted_appserver.core.router import Router
from twisted_appserver.executors.cluster.executor import DaskExecutor
from twisted_appserver.executors.cluster.run_once import RunOnce
from twisted_appserver.executors.cluster.task import whole_reply
from twisted_appserver.executors.cluster.wire import encode_outcomes
from twisted_appserver.executors.interface import PendingCall
from twisted_appserver.testing import Response

DASK = [sys.executable, "-c", "from dask.__main__ import main; main()"]
APP = """\
import os
import time

from twisted_appserver import Route


def dies(path: str):
    with open(path, "a") as file:
        file.write("x")
    os._exit(3)


def dies_once(path: str):
    first = not os.path.exists(path)
    with open(path, "a") as file:
        file.write("x")
    if first:
        os._exit(3)
    return {"runs": os.path.getsize(path)}


def pid():
    return {"pid": os.getpid()}


def waits(path: str):
    with open(path, "a") as file:
        file.write("x")
    time.sleep(20)


def sleeps(seconds: float):
    time.sleep(seconds)
    return {"slept": seconds}


url_patterns = (
    (r"/dies", dies),
    Route(r"/dies_once", dies_once, idempotent=True),
    (r"/pid", pid),
    (r"/sleeps", sleeps),
    (r"/waits", waits),
    Route(r"/hurried", sleeps, timeout=0.5),
)
"""
MIXED = """\
import os

from twisted_appserver import Route


def pid():
    return {"pid": os.getpid()}


url_patterns = ((r"/light", pid), Route(r"/heavy", pid, executor="cluster"))
"""
STOPPED = """\
from multiprocessing import active_children

from twisted.internet import asyncioreactor

asyncioreactor.install()
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from twisted_appserver.core.application import Application
from twisted_appserver.executors.cluster.executor import DaskExecutor
from twisted_appserver.core.router import Router

application = Application("app")


async def main(reactor):
    for seconds in (0.0, 0.3, 0.6):
        executor = DaskExecutor(reactor, application, Router(application.load()), size=1)
        started = executor.start()
        await deferLater(reactor, seconds)
        await executor.stop()
        assert started.called and not active_children(), (seconds, started, active_children())


react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
"""


class ClusterTests(CommandTestCase):
    timeout = 120

    async def serve(self, *words: str, **options: Any) -> tuple[Program, int]:
        command = ("-m", "twisted_appserver", "--port", "0", "--type", "cluster", "--workers", "2", *words)
        program = self.python(*command, **options)
        port = await program.port()
        await self.ready(port)
        return program, port

    async def ready(self, port: int, seconds: float = 60.0) -> None:
        end = reactor.seconds() + seconds  # type: ignore[attr-defined]
        while (answer := await fetch(port, "/-/ready")).status != 200:
            self.assertLess(reactor.seconds(), end, answer.body)  # type: ignore[attr-defined]
            await deferLater(reactor, 0.1)

    @slow
    async def test_functions_answer_as_in_other_executors(self) -> None:
        """It answers the table of cases as threads and worker processes do."""
        program, port = await self.serve("--app", "tests.support.cases")
        wrong = []
        for case in (case for case in cases.CASES if "threads" in case.where):
            target = case.path + (f"?{case.query}" if case.query else "")
            headers = tuple((name.decode(), value.decode()) for name, value in case.headers)
            sent = request("POST" if case.body else "GET", target, case.body, headers)
            answer: Response = await exchange(port, sent)
            right = answer.status == case.status and case.exact in (None, answer.body)
            for name, text in case.headers_sent.items():
                right = right and answer.headers.get(name) == text
            for member, value in case.answer.items():
                found = answer.json[member]
                right = right and (value in found if member == "detail" else value == found)
            if not right:
                wrong.append(f"{target}: {answer.status} {answer.body[:200]!r}")
        self.assertEqual(wrong, [], "\n".join(wrong))
        await program.stop()

    @slow
    async def test_invalid_replies_are_never_sent(self) -> None:
        """A reply that a cluster's worker has tampered with is not sent."""
        program, port = await self.serve("--app", "tests.support.tampering", "--workers", "1")
        for kind in ("injected", "large_status", "no_body"):
            self.assertEqual((await fetch(port, f"/tampers/?kind={kind}")).status, 200)
            answer = await fetch(port, f"/tampers/?kind={kind}")
            self.assertEqual((answer.status, answer.headers.get("x-injected")), (500, None))
        await program.stop()

    @slow
    async def test_only_idempotent_calls_run_again_when_a_worker_dies(self) -> None:
        """A call whose worker dies fails and is not run again; one that may be, is; the cluster is whole."""
        program, port = await self.serve(folder=self.folder_of(app=APP))
        path = os.path.abspath(self.mktemp())
        answer = await fetch(port, f"/dies?path={path}")
        self.assertEqual((answer.status, answer.json["title"]), (502, "Bad Gateway"))
        answer = await fetch(port, f"/dies_once?path={path}2")
        self.assertEqual((answer.status, answer.json), (200, {"runs": 2}))
        self.assertEqual(os.path.getsize(path), 1)
        pids: set[int] = set()
        while len(pids) < 2:
            pids |= {each.json["pid"] for each in await gatherResults([self.pid(port) for _ in range(8)])}
        await program.stop()

    def pid(self, port: int) -> Deferred[Response]:
        return Deferred.fromCoroutine(fetch(port, "/pid"))

    @slow
    async def test_calls_of_one_task_get_their_own_replies(self) -> None:
        """Quick calls that travel together: each gets its own answer, and one that fails fails alone."""
        program, port = await self.serve(folder=self.folder_of(app=APP))
        lengths = [number / 10_000 for number in range(40)]
        for _ in range(3):  # by the second round they are known to be quick
            answers = await gatherResults(
                [Deferred.fromCoroutine(fetch(port, f"/sleeps?seconds={seconds if number % 8 else 'x'}"))
                 for number, seconds in enumerate(lengths)]
            )  # fmt: skip
            for number, answer in enumerate(answers):
                if number % 8:
                    self.assertEqual((answer.status, answer.json), (200, {"slept": lengths[number]}))
                else:
                    self.assertEqual(answer.status, 422)
        await program.stop()

    @slow
    async def test_reload_never_runs_another_function(self) -> None:
        """Where the workers have an older table than the server, no call runs another's function."""
        folder = self.folder_of(app=APP)
        program, port = await self.serve(folder=folder)
        first, second = '(r"/pid", pid),', '(r"/sleeps", sleeps),'
        changed = APP.replace(first, "").replace(second, f"{second} {first}")
        changed = changed.replace("url_patterns = (", 'url_patterns = ((r"/first", pid),')
        Path(folder, "app.py").write_text(changed)
        program.signal("HUP")
        await program.line("application reloaded")
        self.assertEqual((await fetch(port, "/sleeps?seconds=0")).json, {"slept": 0.0})
        self.assertIn("pid", (await fetch(port, "/pid")).json)
        answer = await fetch(port, "/first")
        self.assertEqual(answer.status, 503)
        self.assertIn("restart", answer.json["detail"])
        await program.stop()

    @slow
    async def test_time_limit_and_maximum_of_waiting_calls(self) -> None:
        """A call has its time limit; too many that wait are refused; what the client gave up is dropped."""
        program, port = await self.serve("--max-pending", "3", folder=self.folder_of(app=APP))
        self.assertEqual((await fetch(port, "/hurried?seconds=2")).status, 504)
        calls = [Deferred.fromCoroutine(fetch(port, "/sleeps?seconds=1")) for _ in range(10)]
        statuses = [each.status for each in await gatherResults(calls)]
        self.assertEqual(set(statuses), {200, 503})
        self.assertEqual((await fetch(port, "/pid")).status, 200)
        await program.stop()

    @slow
    async def test_service_serves_again_after_its_scheduler_has_restarted(self) -> None:
        """Meanwhile it responds with 503, and no call hangs. A table that was reloaded meanwhile is used."""
        folder = self.folder_of(app=APP)
        scheduler, worker, address = await self.dask(folder)
        program, port = await self.serve("--scheduler", address, folder=folder)
        self.assertEqual((await fetch(port, "/pid")).status, 200)
        self.assertIn(b"\nappserver_size 1.0\n", (await fetch(port, "/-/metrics")).body)
        waiting = Deferred.fromCoroutine(fetch(port, "/sleeps?seconds=30"))
        await deferLater(reactor, 0.5)
        new = APP.replace("url_patterns = (", 'url_patterns = ((r"/new", pid),')
        Path(folder, "app.py").write_text(new)
        program.signal("HUP")
        await program.line("application reloaded")
        for each in (scheduler, worker):
            each.kill()
            await each.ended
        while (await fetch(port, "/-/ready")).status != 503:
            self.assertEqual((await fetch(port, "/pid")).status, 503)
        self.assertEqual((await waiting).status, 503)
        self.assertEqual((await fetch(port, "/pid")).status, 503)
        scheduler, worker, _ = await self.dask(folder, int(address.rpartition(":")[2]))
        await self.ready(port, 10.0)
        self.assertEqual((await fetch(port, "/new")).status, 200)
        await program.stop()

    @slow
    async def test_hung_scheduler_makes_the_service_unready(self) -> None:
        """While the scheduler is frozen, the service is not ready, and sends it one request at a time."""
        folder = self.folder_of(app=APP)
        scheduler, _, address = await self.dask(folder)
        program, port = await self.serve("--scheduler", address, folder=folder)
        before = self.descriptors(program)
        scheduler.signal("STOP")
        while (answer := await fetch(port, "/-/ready")).status == 200:
            await deferLater(reactor, 0.1)
        self.assertIn("does not answer", answer.json["detail"])
        self.assertLessEqual(self.descriptors(program), before + 3)
        os.kill(scheduler.transport.pid, signal.SIGCONT)
        await self.ready(port)
        self.assertEqual((await fetch(port, "/pid")).status, 200)
        await program.stop()

    def descriptors(self, program: Program) -> int:
        return len(os.listdir(f"/proc/{program.transport.pid}/fd"))

    async def dask(self, folder: str, port: int = 0) -> tuple[Program, Program, str]:
        """A scheduler and a worker, as an administrator starts them."""
        scheduler = self.start(
            *DASK, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", folder=folder
        )
        address = (await scheduler.line(r"Scheduler at:\s+(tcp://127.0.0.1:\d+)"))[1]
        return scheduler, await self.worker(address, folder), address

    async def worker(self, address: str, folder: str) -> Program:
        worker = self.start(
            *DASK, "worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny", folder=folder
        )
        await worker.line("Registered to")
        return worker

    @slow
    async def test_begun_call_does_not_run_again_with_two_servers(self) -> None:
        """A call that has begun is not run again, even if another server has connected to the scheduler."""
        folder = self.folder_of(app=APP)
        _, worker, address = await self.dask(folder)
        _, port = await self.serve("--scheduler", address, folder=folder)
        path = os.path.abspath(self.mktemp())
        call = Deferred.fromCoroutine(fetch(port, f"/waits?path={path}"))
        while not os.path.exists(path):
            await deferLater(reactor, 0.05)
        await self.serve("--scheduler", address, folder=folder)
        await self.worker(address, folder)
        worker.kill()
        self.assertEqual((await call).status, 502)
        self.assertEqual(os.path.getsize(path), 1)

    def test_error_after_an_item_is_the_reply(self) -> None:
        """A generator is sent as a whole, so its HTTPError can be sent after any item."""
        for function in (streaming.refused_late, streaming.refused_table):
            call = Call("GET", "/", handler=Handler(function))
            reply = whole_reply(perform(call), call)
            self.assertEqual((reply.status, reply.traceback), (409, ""))
            self.assertIn(b"after the first", reply.body)
        call = Call("GET", "/", handler=Handler(streaming.late))
        reply = whole_reply(perform(call), call)
        self.assertEqual(reply.status, 500)
        self.assertIn("ValueError: after the first item", reply.traceback)

    def test_task_begins_once(self) -> None:
        """A task begins once, and not after it was forgotten. The record of it is deleted too."""
        once, scheduler = RunOnce(), SimpleNamespace(tasks={"a": 1, "b": 2}, handlers={})
        once.start(scheduler)
        begin = scheduler.handlers["appserver_begin"]
        self.assertEqual([begin(key) for key in "aabc"], [True, False, True, False])
        del scheduler.tasks["a"]
        once.transition("a", "memory", "forgotten", stimulus_id="")
        self.assertEqual([begin(key) for key in "ab"], [False, False])
        self.assertEqual(once._begun, {"b"})

    async def test_reply_may_cancel_another_call_of_its_task(self) -> None:
        """An answer may give up a call that travelled with it, which has its own."""
        executor = DaskExecutor(Clock(), Application(), Router([(r"/pid", os.getpid)]))
        executor.connection.client = SimpleNamespace(status="running")
        call = Call("GET", "/pid", handler=executor.connection.router.handlers[0])
        answers: list[int] = []
        jobs = [
            PendingCall(call, lambda *_: executor.cancel(jobs[1]), id),
            PendingCall(call, lambda _, reply: answers.append(reply.status), id),
        ]
        future = succeed(encode_outcomes([(Reply(b""), 0.0)] * 2))
        executor._tasks[future] = jobs
        executor._submitted.update(dict.fromkeys(jobs, future))
        await executor._await_task(jobs, future)
        self.assertEqual((answers, executor.completed, executor.running, executor.pending), ([200], 2, 0, 0))

    @slow
    async def test_stop_before_the_start_leaves_no_process(self) -> None:
        """If it is stopped before it has started, no part of a cluster is left or appears later."""
        program = self.python("-c", STOPPED, folder=self.folder_of(app=APP))
        self.assertEqual(await program.ended, 0, program.err)

    @slow
    async def test_missing_application_is_reported_in_one_line(self) -> None:
        """If the workers lack the application's code, the command reports it in one line and ends."""
        _, _, address = await self.dask(self.folder_of(other="x = 1"))
        command = ("-m", "twisted_appserver", "--port", "0", "--type", "cluster", "--scheduler", address)
        program = self.python(*command, "--app", "app", folder=self.folder_of(app=APP))
        self.assertEqual(await program.ended, 1)
        self.assertIn("cannot import the application", program.err)

    @slow
    async def test_upload_sends_the_current_application(self) -> None:
        """C{--upload} sends it to them, and again what has changed when the server starts again."""
        _, _, address = await self.dask(self.folder_of(other="x = 1"))
        words = ("--scheduler", address, "--upload", "--app", "app.py")
        for name in ("slept", "rested"):
            folder = self.folder_of(app=APP.replace("slept", name))
            program, port = await self.serve(*words, folder=folder)
            self.assertEqual((await fetch(port, "/sleeps?seconds=0")).json, {name: 0.0})
            await program.stop()

    @slow
    async def test_threads_and_cluster_in_one_service(self) -> None:
        """One service has light functions in threads and heavy ones on the cluster."""
        program = self.python(
            TWISTD, "-n", "--pidfile=", "--reactor=asyncio", "appserver", "--port", "0", "--workers", "1",
            folder=self.folder_of(app=MIXED),
        )  # fmt: skip
        port = await program.port()
        answer = await fetch(port, "/heavy")
        while answer.status == 503:
            await deferLater(reactor, 0.1)
            answer = await fetch(port, "/heavy")
        light = (await fetch(port, "/light")).json["pid"]
        self.assertEqual(light, program.transport.pid)
        self.assertNotEqual(answer.json["pid"], light)
        await program.stop()

    async def test_other_reactor_is_reported(self) -> None:
        """The error says how to run Twisted on asyncio."""
        program = self.python(
            TWISTD, "-n", "--pidfile=", "--reactor=poll", "appserver", "--port", "0", "--type", "cluster",
            folder=self.folder_of(app=APP),
        )  # fmt: skip
        self.assertEqual(await program.ended, 1)
        self.assertIn("twistd --reactor=asyncio", program.err)
