"""The clients, against real servers."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import queue as standard
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from treq.testing import StringStubbingResource, StubTreq
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import HTTPConnectionPool, ResponseFailed

from tests.support.queue_server import ROOT, Server, wait_for
from tests.support.slow import slow
from tests.tqueue.test_items import nested
from twisted_appserver.tqueue.client import queue as client
from twisted_appserver.tqueue.client.async_queue import AsyncQueue
from twisted_appserver.tqueue.client.attempts import ServerResponse
from twisted_appserver.tqueue.client.items import ItemError

KEEPER = """
import sys, time
from twisted_appserver.tqueue.client import Queue
queue = Queue(url=sys.argv[1], name="q", lease=float(sys.argv[2]))
print(queue.get(), flush=True)
time.sleep(float(sys.argv[3]))
queue.task_done()
print("done", flush=True)
"""


def keeper(*arguments: object) -> subprocess.Popen[str]:
    """A process that gets a task, keeps it for a while, and is done with it."""
    return subprocess.Popen(
        [sys.executable, "-c", KEEPER, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": ROOT},
    )


class ClientCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server().start()
        self.addCleanup(self.server.kill)

    def queue(self, maxsize: int = 0, name: str | None = "q", **options: Any) -> client.Queue:
        queue = client.Queue(maxsize, self.server.url, name, **options)
        self.addCleanup(queue._pool.close)
        return queue


class Interrupted(BaseException):
    pass


class QueueTests(ClientCase):
    def test_interrupted_get_gets_nothing(self) -> None:
        """A get that is interrupted, as by Ctrl-C, leaves the line at once: the next get has the item."""

        def interrupt(*_: object) -> None:
            raise Interrupted

        queue = self.queue(lease=60)
        before = signal.signal(signal.SIGALRM, interrupt)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        self.assertRaises(Interrupted, queue.get)
        queue.put("item")
        self.assertEqual(queue.get(timeout=20), "item")

    def test_items(self) -> None:
        """Items of every kind go in and come out."""
        queue = self.queue(name="Grüße, 100 % Welt?")
        for item in (None, 1, "x", (1, "a"), {"a": {1, 2}}, b"\0", float("inf"), [[]]):
            queue.put(item)
            self.assertEqual(queue.get(), item)
            queue.task_done()
        queue.join()

    def test_deep(self) -> None:
        """What may be nested so deep may be so at the server too; one level more is refused before."""
        queue = self.queue()
        kinds: list[tuple[int, Callable[[Any], Any]]] = [
            (99, lambda item: [item]),
            (100, lambda item: {"a": item}),
            (33, lambda item: (item,)),
            (24, lambda item: {1: item}),
        ]
        for levels, around in kinds:
            queue.put(item := nested(levels, around))
            self.assertEqual(queue.get(), item)
            self.assertRaises(TypeError, queue.put, around(item))

    def test_timeout(self) -> None:
        """A time to wait is a number, and not below zero."""
        queue = self.queue()
        for timeout in (-1, float("nan")):
            self.assertRaises(ValueError, queue.get, timeout=timeout)
            self.assertRaises(ValueError, queue.put, 1, timeout=timeout)
        self.assertEqual(queue.qsize(), 0)

    def test_exceptions(self) -> None:
        """The exceptions are those of the standard library, where it has them."""
        self.assertIs(client.Empty, standard.Empty)
        self.assertIs(client.Full, standard.Full)
        self.assertIs(client.ShutDown, getattr(standard, "ShutDown", client.ShutDown))

    def test_names(self) -> None:
        """Queues of the same name are the same queue; those without a name are not."""
        self.queue().put(1)
        self.assertEqual(self.queue().qsize(), 1)
        self.assertTrue(self.queue(name=None).empty())
        for name in ("a/b", "", "-"):
            self.assertRaises(ValueError, self.queue, name=name)
            self.assertRaises(ValueError, AsyncQueue, name=name, reactor=Clock())
        self.assertRaises(ValueError, client.Queue, 0, "localhost:8082")

    def test_refused(self) -> None:
        """What the server refuses is an error with its reason."""
        error = self.assertRaises(client.ServerError, self.queue().kick, -1)
        self.assertEqual(error.status, 422)

    def test_task(self) -> None:
        """A task is done at the end of its block, and released if that raises."""
        queue = self.queue()
        queue.put(1)
        with self.assertRaises(KeyError), queue.task(delay=0):
            raise KeyError
        with queue.task(delay=-1) as item:  # is not looked at
            self.assertEqual((item, queue.unfinished_tasks), (1, 1))
        self.assertEqual(queue.unfinished_tasks, 0)
        with self.assertRaises(client.Empty), queue.task(timeout=0):
            pass

    def test_task_block(self) -> None:
        """task_done() does not mean the task of a block; close() within the block releases it."""
        queue = self.queue()
        queue.put(1)
        with queue.task() as item:
            self.assertIn("too many", str(self.assertRaises(ValueError, queue.task_done, item)))
            queue.close()
        self.assertEqual(queue.qsize(), 1)

    def test_tasks(self) -> None:
        """The loop ends when the queue is shut down and empty; the task at which it is left comes back."""
        queue = self.queue()
        for number in range(5):
            queue.put(number)
        for item in queue.tasks():
            if item == 1:
                break
        queue.shutdown()
        self.assertEqual(list(queue.tasks()), [1, 2, 3, 4])
        self.assertEqual(queue.unfinished_tasks, 0)

    def test_auto(self) -> None:
        """With ack="auto" tasks are done when they are got."""
        queue = self.queue(ack="auto")
        queue.put(1)
        self.assertEqual((queue.get(), queue.unfinished_tasks), (1, 0))

    def test_no_item(self) -> None:
        """What another program put and is no item is an error, and is given back."""
        queue = self.queue()
        queue.put_task({"item": {"$type": ["set", [[1]]]}})
        self.assertRaises(ItemError, queue.get, timeout=5)
        stats = queue.stats()
        self.assertEqual((stats["delayed"], stats["leased"]), (1, 0))
        self.assertRaises(ValueError, queue.task_done)

    def test_close(self) -> None:
        """What was got and is not done is given back at once when the queue is closed."""
        queue = self.queue()
        queue.put(1)
        queue.get()
        queue.close()
        self.assertEqual(self.queue().get(timeout=5), 1)

    def test_pickled(self) -> None:
        """A queue can be given to another process, which has tasks of its own."""
        queue = self.queue()
        other = pickle.loads(pickle.dumps(queue))
        other.put(1)
        self.assertEqual(queue.get(), 1)

    def test_forked(self) -> None:
        """After a fork parent and child have connections and keys of their own: every put counts."""
        queue = self.queue()
        queue.put("before")
        children = [
            multiprocessing.get_context("fork").Process(target=queue.put, args=(n,)) for n in range(5)
        ]
        for child in children:
            child.start()
        for child in children:
            child.join(20)
        queue.put("after")
        self.assertEqual(queue.qsize(), 7)

    def test_forked_tasks(self) -> None:
        """A task that was got before a fork is the parent's: the child cannot finish it, or give it back."""
        queue = self.queue()
        for number in range(2):
            queue.put(number)
        queue.get()
        block = queue.task()
        block.__enter__()
        leave = partial(block.__exit__, None, None, None)
        for target in (leave, queue.close, partial(self.assertRaises, ValueError, queue.task_done)):
            child = multiprocessing.get_context("fork").Process(target=target)
            child.start()
            child.join(20)
            self.assertEqual((child.exitcode, queue.stats()["leased"]), (0, 2))
        leave()
        queue.task_done()
        self.assertEqual(queue.unfinished_tasks, 0)

    def test_threads(self) -> None:
        """From many threads at once, nothing is lost and nothing comes twice."""
        queue, got = self.queue(maxsize=10), standard.Queue[Any]()

        def produce(start: int) -> None:
            for number in range(start, start + 100):
                queue.put(number)

        def consume() -> None:
            for item in queue.tasks():
                got.put(item)

        makers = [threading.Thread(target=produce, args=(start,)) for start in range(0, 400, 100)]
        takers = [threading.Thread(target=consume) for _ in range(4)]
        for thread in makers + takers:
            thread.start()
        for thread in makers:
            thread.join(60)
        queue.join()
        queue.shutdown()
        for thread in takers:
            thread.join(60)
        self.assertEqual(sorted(got.queue), list(range(400)))


class LeaseTests(ClientCase):
    @slow
    def test_kept(self) -> None:
        """A client that keeps a task for ten leases while working keeps it."""
        self.queue().put(1)
        process = keeper(self.server.url, 0.5, 5)
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.assertEqual(process.stdout.readline(), "1\n")
        self.assertRaises(client.Empty, self.queue().get, timeout=4)
        self.assertEqual(process.stdout.readline(), "done\n")
        self.assertEqual(self.queue().unfinished_tasks, 0)

    @slow
    def test_auto(self) -> None:
        """With ack="auto" too, a task is kept for the length of a block."""
        queue = self.queue(ack="auto", lease=0.6)
        queue.put(1)
        with queue.task():
            self.assertRaises(client.Empty, self.queue().get, timeout=2.5)
        self.assertEqual(queue.unfinished_tasks, 0)

    @slow
    def test_dies(self) -> None:
        """The task of a worker that dies is with another one within the lease and one second."""
        self.queue().put(1)
        process = keeper(self.server.url, 2, 60)
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        process.stdout.readline()
        process.kill()
        process.wait()
        begin = time.monotonic()
        self.assertEqual(self.queue().get(timeout=10), 1)
        self.assertLess(time.monotonic() - begin, 3.0)


class RestartTests(SynchronousTestCase):
    @slow
    def test_killed(self) -> None:
        """Clients go on over kill -9 and a restart of the server, and nobody notices."""
        server = Server(f"sqlite:{os.path.abspath(self.mktemp())}").start()
        self.addCleanup(lambda: server.kill())
        queue, got = client.Queue(0, server.url, "q"), []

        def consume() -> None:
            for _ in range(300):
                got.append(queue.get())
                queue.task_done()

        thread = threading.Thread(target=consume)
        thread.start()
        for number in range(300):
            queue.put(number)
            if number % 100 == 50:
                server.kill()
                server.start()
        thread.join(60)
        self.assertEqual(got, list(range(300)))
        self.assertEqual(queue.unfinished_tasks, 0)
        queue.close()

    @slow
    def test_done_later(self) -> None:
        """A task_done() that did not reach the server can be repeated."""
        server = Server(f"sqlite:{os.path.abspath(self.mktemp())}").start()
        self.addCleanup(lambda: server.kill())
        queue = client.Queue(0, server.url, "q", patience=0.3)
        self.addCleanup(queue.close)
        for number in range(2):
            queue.put(number)
            queue.get()
        server.kill()
        self.assertRaises(ConnectionError, queue.task_done)
        server.start()
        queue.task_done()
        self.assertEqual(queue.unfinished_tasks, 1)
        queue.task_done(0)
        self.assertEqual(queue.unfinished_tasks, 0)

    def test_patience(self) -> None:
        """A server that cannot be reached is an error after a while, not before."""
        queue = client.Queue(0, "http://127.0.0.1:9", "q", patience=0.3)
        begin = time.monotonic()
        self.assertRaises(ConnectionError, queue.qsize)
        self.assertTrue(0.1 < time.monotonic() - begin < 5)


class AsyncTests(TestCase):
    timeout = 60

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.server = Server().start()
        self.addCleanup(self.server.kill)
        import treq
        from twisted.web.client import Agent

        pool = HTTPConnectionPool(reactor)  # type: ignore[no-untyped-call]
        self.addCleanup(pool.closeCachedConnections)
        treq_client = treq.client.HTTPClient(Agent(reactor, pool=pool))
        self.queue = AsyncQueue(self.server.url, "q", reactor, treq_client, lease=0.6)

    @slow
    @inlineCallbacks
    def test_verbs(self) -> Any:
        """The same verbs, with the same meaning, on the reactor; leases are kept there too."""
        queue = self.queue
        for item in ((1, 2), "x"):
            yield queue.put(item)
        self.assertEqual((yield queue.qsize()), 2)
        self.assertEqual((yield queue.get()), (1, 2))
        self.assertEqual((yield queue.get()), "x")
        with self.assertRaises(client.Empty):
            yield queue.get(timeout=1.5)
        joining = queue.join()
        yield queue.task_done()
        self.assertNoResult(joining)
        yield queue.task_done()
        yield joining
        with self.assertRaises(ValueError):
            yield queue.task_done()
        yield queue.put(3)
        yield queue.get()
        queue.patience, port = 0.3, self.server.port
        self.server.kill()
        for finish in (queue.task_done, queue.release):
            with self.assertRaises((ConnectError, ResponseFailed)):
                yield finish()
        self.server.port = port
        self.server.start()
        queue.patience = 30.0
        with self.assertRaises(client.LeaseLost):  # the server has forgotten it
            yield queue.task_done()
        with self.assertRaises(ValueError):
            yield queue.task_done()
        yield queue.shutdown()
        for asked in (queue.put(1), queue.get()):
            with self.assertRaises(client.ShutDown):
                yield asked

    @inlineCallbacks
    def test_no_item(self) -> Any:
        """What another program put and is no item is given back; it is not what task_done() means."""
        yield self.queue.put_task({"item": {"$type": ["bytes", "x"]}})
        with self.assertRaises(ItemError):
            yield self.queue.get()
        stats = yield self.queue.stats()
        self.assertEqual((stats["delayed"], stats["leased"]), (1, 0))
        with self.assertRaises(ValueError):
            yield self.queue.task_done()

    @inlineCallbacks
    def test_cancel(self) -> Any:
        """A get that is cancelled gets no task."""
        getting: Deferred[Any] = self.queue.get()
        stats = client.Queue(0, self.server.url, "q")
        yield defer.succeed(None)
        from twisted.internet import reactor
        from twisted.internet.task import deferLater

        while stats.stats()["getters"] == 0:
            yield deferLater(reactor, 0.02)  # type: ignore[arg-type]
        getting.cancel()
        with self.assertRaises(CancelledError):
            yield getting
        while stats.stats()["getters"]:
            yield deferLater(reactor, 0.02)  # type: ignore[arg-type]
        yield self.queue.put(1)
        self.assertEqual((yield self.queue.get()), 1)
        yield self.queue.task_done()
        stats.close()


class AsyncTroubleTests(SynchronousTestCase):
    def test_silent(self) -> None:
        """A server that does not answer is tried again while there is patience, and is an error then."""
        clock, asked = Clock(), list[Deferred[Any]]()

        def request(*arguments: Any, **options: Any) -> Deferred[Any]:
            asked.append(Deferred())
            return asked[-1]

        queue = AsyncQueue("http://x", "q", clock, SimpleNamespace(request=request), patience=40)
        getting = queue.get(timeout=5)
        clock.pump([34, 2, 1, 34, 2])
        self.assertNoResult(getting)
        clock.pump([1, 34, 2])
        self.assertEqual(len(asked), 3)
        self.failureResultOf(getting, defer.TimeoutError)

    def test_no_number(self) -> None:
        """A time to wait that is no number is an error at once."""
        queue = AsyncQueue("http://x", "q", Clock(), SimpleNamespace())
        for asking in (queue.get(timeout=float("nan")), queue.put(1, timeout=float("nan"))):
            self.failureResultOf(asking, ValueError)

    def test_deep(self) -> None:
        """An item that cannot travel is the same error as elsewhere, also if it cannot be sorted."""
        queue = AsyncQueue("http://x", "q", Clock(), SimpleNamespace())
        self.failureResultOf(queue.put(nested(5000, lambda item: [1, item])), TypeError)

    def test_renewal_outlasts(self) -> None:
        """A renewal that outlasts its task leaves the next one with one loop, and the last with none."""
        renewals = list[Deferred[None]]()

        async def send(step: Any) -> ServerResponse:
            if step.verb == "renew":
                renewals.append(Deferred())
                await renewals[-1]
            return ServerResponse(200, b'{"task_id": "1", "delivery": 1, "task": {"item": 1}, "lost": []}')

        queue = AsyncQueue("http://x", "q", clock := Clock(), SimpleNamespace(), lease=3)
        queue._send = send  # type: ignore[method-assign, assignment]
        for _ in range(3):
            queue.get()
            clock.pump([0.3] * 4)
            queue.task_done()
        self.assertEqual(len(renewals), 3)
        queue.get()
        for renewal in list(renewals):
            renewal.callback(None)
        self.assertEqual(len(clock.getDelayedCalls()), 1)
        clock.pump([0.3] * 4)
        self.assertEqual(len(renewals), 4)
        queue.task_done()
        renewals[3].callback(None)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_proxy(self) -> None:
        """A server error that is no JSON, as of a proxy, is tried again too."""
        answers = [(502, {}, b"<html>"), (200, {}, b'{"qsize": 1}'), (502, {}, b"<html>")]
        proxy = StubTreq(StringStubbingResource(lambda *request: answers.pop(0)))
        queue = AsyncQueue("http://x", "q", clock := Clock(), proxy, patience=1)
        asking = queue.qsize()
        clock.advance(0.1)
        self.assertEqual(self.successResultOf(asking), 1)
        queue.patience = 0
        self.assertEqual(self.failureResultOf(queue.qsize(), client.ServerError).value.status, 502)


COMMAND = (sys.executable, "-m", "twisted_appserver.tqueue.command")


class CommandTests(ClientCase):
    def run_command(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            env={**os.environ, "PYTHONPATH": ROOT},
            **options,
        )

    def tqueue(self, verb: str, *arguments: str, **options: Any) -> str:
        finished = self.run_command(verb, self.server.url, "q", *arguments, **options)
        self.assertEqual((finished.returncode, finished.stderr), (0, ""))
        return finished.stdout

    @slow
    def test_verbs(self) -> None:
        """Each verb does what it says."""
        self.tqueue("put", "color=red", "n=1")
        self.tqueue("put", input="color=blue\n\nn=3\n")
        self.assertEqual(self.tqueue("qsize"), "3\n")
        self.assertIn('"task": {"color": "red", "n": 1}', got := self.tqueue("get"))
        task_id = got.split('"task_id": "')[1].split('"')[0]
        self.tqueue("done", task_id)
        self.assertEqual(self.tqueue("peek").count("task_id"), 2)
        self.assertIn('"task": {"color": "blue"}', self.tqueue("peek"))
        self.assertIn('"dones": 1', self.tqueue("stats"))
        self.assertIn('"kicked": 0', self.tqueue("kick"))
        self.assertIn("ready 2, delayed 0", self.tqueue("watch", "--times", "1", "--every", "0.01"))

    def test_texts(self) -> None:
        """A value that is no JSON is text, also if Python would take it for a number."""
        values = ("NaN", "-Infinity", "1e400", "[1e400]", "{")
        self.tqueue("put", *(f"{name}={value}" for name, value in zip("abcde", values, strict=True)), "f=1e3")
        fields = dict(zip("abcdef", (*values, 1e3), strict=True))
        self.assertEqual(json.loads(self.tqueue("get"))["task"], fields)
        wrong = self.run_command("put", self.server.url, "q", '{"a": NaN}')
        self.assertEqual((wrong.returncode, wrong.stderr.count("\n")), (2, 1))

    def test_cannot(self) -> None:
        """What cannot be done is one line and a status, not a traceback."""
        empty = self.run_command("get", self.server.url, "q")
        self.assertEqual((empty.returncode, empty.stderr), (1, "tqueue: the queue is empty\n"))
        wrong = self.run_command("put", self.server.url, "q", "noequals")
        self.assertEqual(wrong.returncode, 2)
        self.assertIn("name=value", wrong.stderr)
        lines = self.run_command("put", self.server.url, "q", "--key", "k", input="n=1\nn=2\n")
        self.assertEqual((lines.returncode, lines.stdout, lines.stderr.count("\n")), (2, "", 1))
        nothing = self.run_command("work", self.server.url, "q", "nosuch:thing")
        self.assertEqual((nothing.returncode, nothing.stderr.count("\n")), (2, 1))

    def test_interrupted(self) -> None:
        """A get may wait for ever, and Ctrl-C ends it without a traceback."""
        process = subprocess.Popen(
            [*COMMAND, "get", self.server.url, "q", "--timeout", "inf"],
            env={**os.environ, "PYTHONPATH": ROOT},
            stderr=subprocess.PIPE,
            text=True,
        )
        queue = self.queue()
        wait_for(lambda: process.poll() or queue.stats()["getters"])
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        self.assertEqual((process.returncode, err), (130, ""))

    @slow
    def test_watch(self) -> None:
        """No rate is below zero when the server starts again."""
        queue = self.queue()
        queue.put(1)
        with subprocess.Popen(
            [*COMMAND, "watch", self.server.url, "q", "--every", "0.2", "--times", "5"],
            env={**os.environ, "PYTHONPATH": ROOT},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            self.assertIn("ready 1", process.stdout.readline())
            self.server.kill()
            self.server.start()
            self.assertNotIn("-", process.stdout.read())
        self.assertEqual(process.returncode, 0)

    @slow
    def test_numbers(self) -> None:
        """What no number of that kind can be is said before anything is done."""
        work = ("work", self.server.url, "q", "time:sleep")
        watch = ("watch", self.server.url, "q", "--times", "2", "--every")
        for arguments in (
            *((*watch, every) for every in ("0", "nan", "inf", "1e12")),
            *((*work, "--delay", delay) for delay in ("-1", "40000000")),
            *((*work, "--lease", lease) for lease in ("0", "604801")),
            (*work, "--threads", "0"),
        ):
            wrong = self.run_command(*arguments)
            self.assertEqual(wrong.returncode, 2)
            self.assertIn("or more", wrong.stderr)

    def test_work(self) -> None:
        """work stopped by SIGTERM finishes what it has, loses nothing and leaves nothing leased."""
        folder = self.mktemp()
        os.mkdir(folder)
        with open(os.path.join(folder, "jobs.py"), "w") as file:
            file.write(
                "import time\n"
                "def job(task):\n"
                "    time.sleep(0.02)\n"
                "    with open('done', 'a') as file: file.write('%d\\n' % task['n'])\n"
            )
        queue = self.queue()
        for number in range(200):
            queue.put({"n": number})
        arguments = ["work", self.server.url, "q", "jobs:job", "--threads", "4"]
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": ROOT},
            stdout=subprocess.PIPE,
            text=True,
        )
        wait_for(lambda: queue.qsize() < 150)
        process.terminate()
        out, _ = process.communicate(timeout=20)
        stats = queue.stats()
        with open(os.path.join(folder, "done")) as file:
            done = [int(line) for line in file]
        self.assertEqual((process.returncode, stats["leased"]), (0, 0))
        self.assertEqual(len(set(done)), len(done))
        self.assertEqual(len(done) + stats["ready"], 200)
        self.assertIn(f"{len(done)} done, 0 failed", out)

    @slow
    def test_work_fails(self) -> None:
        """A task whose function raises or exits, or that is no item, is tried again and in the end buried."""
        folder = self.mktemp()
        os.mkdir(folder)
        with open(os.path.join(folder, "jobs.py"), "w") as file:
            file.write("import sys\ndef job(task):\n    1 / 0 if task == 1 else sys.exit(3)\n")
        queue = self.queue()
        queue.config(max_deliveries=3)
        for item in (1, 2):
            queue.put(item)
        queue.put_task({"item": {"$type": ["bytes", "x"]}})
        arguments = ("work", self.server.url, "q", "jobs:job", "--delay", "0.1")
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": ROOT},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(lambda: queue.stats()["buried"] == 3)
        process.terminate()
        out, err = process.communicate(timeout=20)
        self.assertIn("0 done, 9 failed", out)
        for error in ("ZeroDivisionError", "SystemExit", "binascii.Error"):
            self.assertIn(error, err)
