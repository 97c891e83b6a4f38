"""Tests of the clients and of the command, with real servers."""

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

from tests.support.files import sqlite_store
from tests.support.queue_server import ROOT, Server, wait_for
from tests.support.slow import slow
from tests.tqueue.test_command import CommandCase
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


def start_keeper(*arguments: object) -> subprocess.Popen[str]:
    """Start a process that gets a task, keeps it for a while, and finishes it."""
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
        """
        A get that is interrupted, for example by Ctrl-C, leaves the queue of waiters: the next get has the
        item.
        """

        def interrupt(*_: object) -> None:
            raise Interrupted

        queue = self.queue(lease=60)
        before = signal.signal(signal.SIGALRM, interrupt)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        self.assertRaises(Interrupted, queue.get)
        queue.put("item")
        self.assertEqual(queue.get(timeout=20), "item")

    def test_items_of_every_type_arrive_unchanged(self) -> None:
        queue = self.queue(name="Grüße, 100 % Welt?")
        for item in (None, 1, "x", (1, "a"), {"a": {1, 2}}, b"\0", float("inf"), [[]]):
            queue.put(item)
            self.assertEqual(queue.get(), item)
            queue.task_done()
        queue.join()

    def test_nesting_that_the_client_accepts_is_accepted_by_the_server(self) -> None:
        """The client refuses an item with one level more."""
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

    def test_invalid_timeout_is_refused(self) -> None:
        queue = self.queue()
        for timeout in (-1, float("nan")):
            self.assertRaises(ValueError, queue.get, timeout=timeout)
            self.assertRaises(ValueError, queue.put, 1, timeout=timeout)
        self.assertEqual(queue.qsize(), 0)

    def test_exceptions_are_those_of_the_standard_library(self) -> None:
        """Where it has them."""
        self.assertIs(client.Empty, standard.Empty)
        self.assertIs(client.Full, standard.Full)
        self.assertIs(client.ShutDown, getattr(standard, "ShutDown", client.ShutDown))

    def test_queues_of_the_same_name_are_the_same_queue(self) -> None:
        """Queues without a name have a queue of their own, and invalid names are refused."""
        self.queue().put(1)
        self.assertEqual(self.queue().qsize(), 1)
        self.assertTrue(self.queue(name=None).empty())
        for name in ("a/b", "", "-"):
            self.assertRaises(ValueError, self.queue, name=name)
            self.assertRaises(ValueError, AsyncQueue, name=name, reactor=Clock())
        self.assertRaises(ValueError, client.Queue, 0, "localhost:8082")

    def test_refused_request_raises_server_error_with_its_status(self) -> None:
        error = self.assertRaises(client.ServerError, self.queue().kick, -1)
        self.assertEqual(error.status, 422)

    def test_task_block_finishes_its_task_or_releases_it_on_an_error(self) -> None:
        queue = self.queue()
        queue.put(1)
        with self.assertRaises(KeyError), queue.task(delay=0):
            raise KeyError
        with queue.task(delay=-1) as item:  # the delay is not used
            self.assertEqual((item, queue.unfinished_tasks), (1, 1))
        self.assertEqual(queue.unfinished_tasks, 0)
        with self.assertRaises(client.Empty), queue.task(timeout=0):
            pass

    def test_task_done_does_not_finish_the_task_of_a_block(self) -> None:
        """C{close()} within the block releases it."""
        queue = self.queue()
        queue.put(1)
        with queue.task() as item:
            self.assertIn("not hold the item 1", str(self.assertRaises(ValueError, queue.task_done, item)))
            queue.close()
        self.assertEqual(queue.qsize(), 1)

    def test_tasks_ends_when_the_queue_is_shut_down_and_empty(self) -> None:
        """The task at which the loop is left comes back."""
        queue = self.queue()
        for number in range(5):
            queue.put(number)
        for item in queue.tasks():
            if item == 1:
                break
        queue.shutdown()
        self.assertEqual(list(queue.tasks()), [1, 2, 3, 4])
        self.assertEqual(queue.unfinished_tasks, 0)

    def test_ack_auto_finishes_a_task_when_it_is_delivered(self) -> None:
        queue = self.queue(ack="auto")
        queue.put(1)
        self.assertEqual((queue.get(), queue.unfinished_tasks), (1, 0))

    def test_task_that_is_no_item_raises_item_error_and_is_released(self) -> None:
        """Another program may have put it."""
        queue = self.queue()
        queue.put_task({"item": {"$type": ["set", [[1]]]}})
        self.assertRaises(ItemError, queue.get, timeout=5)
        stats = queue.stats()
        self.assertEqual((stats["delayed"], stats["leased"]), (1, 0))
        self.assertRaises(ValueError, queue.task_done)

    def test_close_releases_the_leased_tasks(self) -> None:
        queue = self.queue()
        queue.put(1)
        queue.get()
        queue.close()
        self.assertEqual(self.queue().get(timeout=5), 1)

    def test_pickled_queue_works_and_has_its_own_tasks(self) -> None:
        queue = self.queue()
        other = pickle.loads(pickle.dumps(queue))
        other.put(1)
        self.assertEqual(queue.get(), 1)

    def test_parent_and_children_can_put_after_a_fork(self) -> None:
        """Each has its own connections and keys, so every put counts."""
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

    def test_child_cannot_finish_a_task_of_its_parent(self) -> None:
        """It cannot release it either."""
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

    def test_many_threads_may_share_a_queue(self) -> None:
        """No item is lost, and none comes twice."""
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
    def test_option_of_the_queue_is_the_length_of_a_lease(self) -> None:
        """Unless the client has chosen one."""
        queue, other = self.queue(), self.queue(lease=70)
        queue.config(lease=3000)
        for each, seconds in ((queue, 3000), (other, 70)):
            queue.put(1)
            with each.task():
                (task,) = queue.peek(1, "leased")
                self.assertLess(abs(task["lease"] - time.time() - seconds), 20)

    def test_shorter_leases_are_renewed_in_time(self) -> None:
        """If the option of the queue has changed while the client works."""
        queue = self.queue()

        def next_end() -> float:
            return float(min(task["lease"] for task in queue.peek(2, "leased")))

        for seconds in (3000, 1.2):
            queue.config(lease=seconds)
            queue.put(seconds)
            queue.get()
        before = next_end()
        wait_for(lambda: next_end() > before + 0.1)  # the same end differs by microseconds
        self.assertFalse(queue.is_lost(1.2))
        self.assertEqual(len(queue.peek(2, "leased")), 2)
        queue.close()

    @slow
    def test_lease_is_renewed_while_the_client_works(self) -> None:
        """The client works for ten times the length of its lease."""
        self.queue().put(1)
        process = start_keeper(self.server.url, 0.5, 5)
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.assertEqual(process.stdout.readline(), "1\n")
        self.assertRaises(client.Empty, self.queue().get, timeout=4)
        self.assertEqual(process.stdout.readline(), "done\n")
        self.assertEqual(self.queue().unfinished_tasks, 0)

    @slow
    def test_lease_of_a_block_is_renewed_with_ack_auto(self) -> None:
        queue = self.queue(ack="auto", lease=0.6)
        queue.put(1)
        with queue.task():
            self.assertRaises(client.Empty, self.queue().get, timeout=2.5)
        self.assertEqual(queue.unfinished_tasks, 0)

    @slow
    def test_task_of_a_dead_worker_is_delivered_again_when_its_lease_ends(self) -> None:
        """At most one second later."""
        self.queue().put(1)
        process = start_keeper(self.server.url, 2, 60)
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        process.stdout.readline()
        process.kill()
        process.wait()
        begin = time.monotonic()
        self.assertEqual(self.queue().get(timeout=10), 1)
        self.assertLess(time.monotonic() - begin, 3.0)


class RestartTests(SynchronousTestCase):
    def test_clients_survive_a_killed_and_restarted_server(self) -> None:
        server = Server(sqlite_store(self)).start()
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

    def test_task_done_that_did_not_reach_the_server_can_be_repeated(self) -> None:
        server = Server(sqlite_store(self)).start()
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

    def test_unreachable_server_is_an_error_when_patience_ends(self) -> None:
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
    def test_async_queue_has_the_verbs_of_queue(self) -> Any:
        """Leases are renewed on the reactor."""
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
        with self.assertRaises(client.LeaseLost):  # the server no longer has it
            yield queue.task_done()
        with self.assertRaises(ValueError):
            yield queue.task_done()
        yield queue.shutdown()
        for asked in (queue.put(1), queue.get()):
            with self.assertRaises(client.ShutDown):
                yield asked

    @inlineCallbacks
    def test_task_that_is_no_item_raises_item_error_and_is_released(self) -> Any:
        """C{task_done()} does not mean such a task."""
        yield self.queue.put_task({"item": {"$type": ["bytes", "x"]}})
        with self.assertRaises(ItemError):
            yield self.queue.get()
        stats = yield self.queue.stats()
        self.assertEqual((stats["delayed"], stats["leased"]), (1, 0))
        with self.assertRaises(ValueError):
            yield self.queue.task_done()

    @inlineCallbacks
    def test_cancelled_get_receives_no_task(self) -> Any:
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
    def test_silent_server_is_tried_again_until_patience_ends(self) -> None:
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

    def test_timeout_that_is_no_number_is_refused_at_once(self) -> None:
        queue = AsyncQueue("http://x", "q", Clock(), SimpleNamespace())
        for asking in (queue.get(timeout=float("nan")), queue.put(1, timeout=float("nan"))):
            self.failureResultOf(asking, ValueError)

    def test_item_that_is_nested_too_deeply_is_a_type_error(self) -> None:
        """Also if it cannot be sorted."""
        queue = AsyncQueue("http://x", "q", Clock(), SimpleNamespace())
        self.failureResultOf(queue.put(nested(5000, lambda item: [1, item])), TypeError)

    def test_renewal_that_outlasts_its_task_leaves_no_second_loop(self) -> None:
        """After the last task no loop is left."""
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

    def test_shorter_leases_are_renewed_more_often(self) -> None:
        """If the option of the queue has changed."""
        steps, leases = list[Any](), [1200.0, 12.0]

        async def send(step: Any) -> ServerResponse:
            steps.append(step)
            document = {"task_id": "1", "delivery": 1, "task": {"item": 1}, "lost": [], "lease": leases[0]}
            return ServerResponse(200, json.dumps(document).encode())

        queue = AsyncQueue("http://x", "q", clock := Clock(), SimpleNamespace())
        queue._send = send  # type: ignore[method-assign, assignment]
        queue.get()
        leases.pop(0)
        queue.get()
        clock.pump([1.0] * 5)
        self.assertIn(("renew", "12.0"), [(step.verb, step.query.get("lease")) for step in steps])

    def test_server_error_of_a_proxy_is_tried_again(self) -> None:
        """Its body is not JSON."""
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
    def run_command(self, *arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:
        """Run the command in this process."""
        return subprocess.CompletedProcess(arguments, *CommandCase().tqueue(*arguments, lines=input))

    def tqueue(self, verb: str, *arguments: str, **options: Any) -> str:
        finished = self.run_command(verb, self.server.url, "q", *arguments, **options)
        self.assertEqual((finished.returncode, finished.stderr), (0, ""))
        return finished.stdout

    def test_each_verb_does_what_its_name_promises(self) -> None:
        self.tqueue("put", "color=red", "n=1")
        self.tqueue("put", input="color=blue\n\nn=3\n")
        self.assertEqual(self.tqueue("qsize"), "3\n")
        self.assertIn('"task": {"color": "red", "n": 1}', got := self.tqueue("get"))
        task_id = got.split('"task_id": "')[1].split('"')[0]
        self.tqueue("done", task_id)
        self.assertEqual(self.tqueue("peek", "--json").count("task_id"), 2)
        self.assertIn('"task": {"color": "blue"}', self.tqueue("peek", "--json"))
        self.assertIn('"dones": 1', self.tqueue("stats", "--json"))
        self.assertIn('"kicked": 0', self.tqueue("kick"))
        self.assertIn("ready 2, delayed 0", self.tqueue("watch", "--times", "1", "--every", "0.01"))

    def test_value_that_is_no_json_is_text(self) -> None:
        """Also if Python would read it as a number. Text that begins like JSON is refused."""
        values = ("NaN", "-Infinity", "1e400")
        self.tqueue("put", *(f"{name}={value}" for name, value in zip("abc", values, strict=True)), "d=1e3")
        fields = dict(zip("abcd", (*values, 1e3), strict=True))
        self.assertEqual(json.loads(self.tqueue("get"))["task"], fields)
        wrong = self.run_command("put", self.server.url, "q", '{"a": NaN}')
        self.assertEqual((wrong.returncode, wrong.stderr.count("\n")), (2, 1))

    def test_failure_is_one_line_and_an_exit_status(self) -> None:
        empty = self.run_command("get", self.server.url, "q")
        self.assertEqual((empty.returncode, empty.stderr), (1, "tqueue: the queue q is empty\n"))
        wrong = self.run_command("put", self.server.url, "q", "noequals")
        self.assertEqual(wrong.returncode, 2)
        self.assertIn("name=value", wrong.stderr)
        lines = self.run_command("put", self.server.url, "q", "--key", "k", input="n=1\nn=2\n")
        self.assertEqual((lines.returncode, lines.stdout, lines.stderr.count("\n")), (2, "", 1))
        nothing = self.run_command("work", self.server.url, "q", "nosuch:thing")
        self.assertEqual((nothing.returncode, nothing.stderr.count("\n")), (2, 1))

    def test_ctrl_c_ends_a_waiting_get_without_a_traceback(self) -> None:
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

    def test_watch_shows_no_negative_rate_after_a_restart(self) -> None:
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

    def test_option_out_of_range_is_refused_before_anything_is_done(self) -> None:
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

    def test_sigterm_lets_work_finish_its_tasks(self) -> None:
        """No task is lost, and none stays leased."""
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

    def test_failing_task_is_repeated_and_finally_buried(self) -> None:
        """Its function raises an error or exits, or the task cannot be converted to an item."""
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
        for error in ("ZeroDivisionError", "SystemExit", "a tagged value does not fit its tag"):
            self.assertIn(error, err)
