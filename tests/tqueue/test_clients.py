"""Cases that run over both Queue and AsyncQueue, against a real server."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.faulty_proxy import RESET
from tests.support.queue_clients import AsyncQueueClients, ClientCase, Clients, QueueClients
from tests.support.queue_server import Server, wait_for
from tests.support.slow import slow
from twisted_appserver.tqueue.client import (
    Empty,
    LeaseLost,
    LifoQueue,
    PriorityQueue,
    Queue,
    ServerError,
)

NOT_REACHED = (OSError, ServerError)  # raised by Queue and AsyncQueue while a server responds with 503


class ClientTable(Clients):
    """The cases."""

    def test_task_done_finishes_the_task_that_was_received_last(self) -> Deferred[None]:
        """Also if the one before it was never finished."""

        def case(here: ClientCase) -> None:
            queue = here.queue()
            for item in "abc":
                queue.put(item)
            assert [queue.get(), queue.get()] == ["a", "b"]
            queue.task_done()
            assert [each["task"] for each in here.admin.peek(state="leased")] == [{"item": "a"}]
            assert queue.get() == "c"
            queue.task_done("a")
            queue.task_done()
            assert here.stats()["unfinished"] == 0
            with self.assertRaises(ValueError):  # type: ignore[attr-defined]
                queue.task_done()

        return self.run_case(case)

    def test_failed_task_done_is_repeated_in_the_background(self) -> Deferred[None]:
        """The next C{task_done()} finishes another task."""

        def case(here: ClientCase) -> None:
            queue = here.queue(patience=0.2, lease=1.2)
            for item in "ab":
                queue.put(item)
            queue.get()
            here.proxy.faults += [("done", 503)] * 2
            self.assertRaises(NOT_REACHED, queue.task_done)  # type: ignore[attr-defined]
            assert queue.get() == "b"
            wait_for(lambda: here.stats()["dones"] == 1)
            assert here.admin.peek(state="leased")[0]["task"] == {"item": "b"}
            queue.task_done()
            assert here.stats()["dones"] == 2

        return self.run_case(case)

    def test_failed_task_done_may_be_repeated(self) -> Deferred[None]:
        """Also after the background has finished the task."""

        def case(here: ClientCase) -> None:
            queue = here.queue(patience=0.2, lease=1.2)
            for item in "abc":
                queue.put(item)
                queue.get()
            for left, wait in ((2, False), (1, True)):
                here.proxy.faults += [("done", 503)]
                self.assertRaises(NOT_REACHED, queue.task_done)  # type: ignore[attr-defined]
                if wait:
                    wait_for(lambda: here.stats()["unfinished"] == 1)
                queue.task_done()
                assert here.stats()["unfinished"] == left
            assert here.admin.peek(state="leased")[0]["task"] == {"item": "a"}

        return self.run_case(case)

    @slow
    def test_request_that_fails_is_repeated_and_has_one_effect(self) -> Deferred[None]:
        """Whatever happens to the request or its response."""

        def case(here: ClientCase) -> None:
            queue = here.queue(lease=30)
            kinds: list[Any] = ["reset", "closed", "lost", "half", "noise", 503, 502, 500, 429, 408]
            for number, fault in enumerate(kinds):
                item = {"n": number, "text": "x" * 900_000}
                here.proxy.faults += [("put", fault), ("get", fault), ("done", fault)]
                queue.put(item)
                assert here.stats()["ready"] == 1, fault
                assert queue.get() == item
                queue.task_done()
                assert (here.stats()["unfinished"], here.stats()["dones"]) == (0, number + 1), fault
                assert not here.proxy.faults, fault
            for fault in kinds[:6]:
                here.proxy.faults += [("qsize", fault), ("join", fault), ("shutdown", fault)]
                assert queue.qsize() == 0
                queue.join()
                queue.shutdown()
                assert not here.proxy.faults, fault

        return self.run_case(case)

    def test_client_waits_as_long_as_retry_after_requires(self) -> Deferred[None]:
        """It gives up at once if that is longer than its patience."""

        def case(here: ClientCase) -> None:
            queue = here.queue()
            here.proxy.faults += [("qsize", 503)]
            begin = time.monotonic()
            assert queue.qsize() == 0
            assert 1.0 <= time.monotonic() - begin < 10
            queue.patience = 0.9
            here.proxy.faults += [("qsize", 503)]
            begin = time.monotonic()
            self.assertRaises(NOT_REACHED, queue.qsize)  # type: ignore[attr-defined]
            assert time.monotonic() - begin < 0.9

        return self.run_case(case)

    def test_client_waits_for_a_server_that_starts_and_repeats_no_refusal(self) -> Deferred[None]:

        def case(here: ClientCase) -> None:
            here.server.kill()
            queue = self.make(here.server.url)
            starting = threading.Timer(0.5, here.server.start)
            starting.start()
            queue.put(1)
            starting.join()
            assert here.stats()["ready"] == 1
            here.proxy.faults += [("put", 403), ("put", 422), ("put", 401)]
            other = here.queue()
            for status in (403, 422, 401):
                error = self.assertRaises(ServerError, other.put, 2)  # type: ignore[attr-defined]
                assert error.status == status
            assert here.stats()["ready"] == 1

        return self.run_case(case)

    def test_finishing_a_task_whose_lease_has_ended_raises_lease_lost(self) -> Deferred[None]:
        """C{is_lost()} shows it before."""

        def case(here: ClientCase) -> None:
            queue = here.queue(lease=1.2)
            for item in "abc":
                queue.put(item)
            queue.get()
            assert not queue.is_lost()
            with self.assertRaises(LeaseLost), queue.block() as task:  # type: ignore[attr-defined]
                assert (task.item, task.lost) == ("b", False)
                here.admin.config(max_deliveries=1)
                for each in here.admin.peek(state="leased"):
                    here.admin.bury(task_id=each["task_id"])
                wait_for(lambda: task.lost and queue.is_lost() and queue.is_lost("a"))
            self.assertRaises(LeaseLost, queue.task_done)  # type: ignore[attr-defined]
            assert queue.get() == "c"
            queue.task_done()
            assert (here.stats()["dones"], here.stats()["buried"]) == (1, 2)

        return self.run_case(case)

    def test_task_is_lost_when_the_server_is_away_for_longer_than_its_lease(self) -> Deferred[None]:

        def case(here: ClientCase) -> None:
            queue = here.queue(lease=1.2, patience=0.2)
            queue.put("a")
            with self.assertRaises(LeaseLost), queue.block() as task:  # type: ignore[attr-defined]
                here.server.kill()
                wait_for(lambda: task.lost)
                here.server.start()

        return self.run_case(case)

    @slow
    def test_task_is_done_once_though_the_response_was_lost(self) -> Deferred[None]:
        """If the lease ended meanwhile, that is an error."""

        def case(here: ClientCase) -> None:
            queue = here.queue(lease=30)
            queue.put("a")
            with queue.block():
                here.proxy.faults += [("done", "lost"), ("done", 503)]
            assert here.stats()["dones"] == 1
            queue = here.queue(lease=0.9)
            queue.put("b")
            with self.assertRaises(LeaseLost), queue.block():  # type: ignore[attr-defined]
                here.proxy.faults += [("done", "lost"), ("done", 503)]

        return self.run_case(case)

    @slow
    def test_hundreds_of_leases_are_renewed_by_few_requests(self) -> Deferred[None]:

        def case(here: ClientCase) -> None:
            queue = here.queue(lease=2)
            for number in range(500):
                here.admin.put(number)
            for number in range(500):
                assert queue.get() == number
            before = len(here.proxy.seen)
            self.assertRaises(Empty, queue.get, timeout=5)  # type: ignore[attr-defined]
            assert (here.stats()["leased"], here.stats()["returned"]) == (500, 0)
            renewals = [path for path in here.proxy.seen[before:] if "/renew" in path]
            assert 3 <= len(renewals) < 60, len(renewals)

        return self.run_case(case)

    @slow
    def test_leases_last_though_every_other_renewal_fails(self) -> Deferred[None]:

        def case(here: ClientCase) -> None:
            queue = here.queue(lease=2, patience=0.1)
            queue.put("a")
            queue.get()
            for fault in (503, "reset", "lost", "noise", "half"):
                here.proxy.faults += [("renew", fault)]
                wait_for(lambda: not here.proxy.faults)
                before = here.proxy.seen.count("/q/renew?lease=2")
                wait_for(lambda: here.proxy.seen.count("/q/renew?lease=2") > before)  # noqa: B023
            assert here.stats()["returned"] == 0
            queue.task_done()
            assert here.stats()["dones"] == 1

        return self.run_case(case)

    @slow
    def test_task_of_a_failed_block_is_delayed_longer_each_time(self) -> Deferred[None]:
        """A delay of 0 is possible."""

        def case(here: ClientCase) -> None:
            queue = here.queue()
            queue.put("a")
            for seconds in (1, 2):
                with self.assertRaises(KeyError), queue.block(timeout=10):  # type: ignore[attr-defined]
                    raise KeyError
                (task,) = here.admin.peek(state="delayed")
                assert seconds * 0.9 - 0.9 < task["due"] - time.time() <= seconds * 1.1, task
            with self.assertRaises(KeyError), queue.block(timeout=10, delay=0):  # type: ignore[attr-defined]
                raise KeyError
            assert here.stats()["ready"] == 1
            here.admin.config(retry_first=200, retry_factor=1)
            with self.assertRaises(KeyError), queue.block(timeout=10) as block:  # type: ignore[attr-defined]
                raise KeyError
            (task,) = here.admin.peek(state="delayed")
            assert 170 < task["due"] - time.time() <= 220, task
            assert 180 <= block.retry <= 220, block.retry
            here.admin.kick_task(task["task_id"])
            with self.assertRaises(asyncio.CancelledError), queue.block(timeout=10):  # type: ignore[attr-defined]
                raise asyncio.CancelledError
            assert here.stats()["ready"] == 1, "an interrupt is not the task's fault"

        return self.run_case(case)

    def test_any_name_user_and_password_arrive_unchanged(self) -> Deferred[None]:

        def case(here: ClientCase) -> None:
            names = ["a b", "50%", "%2F", "?x=1", "#", "a&b=c", "Grüße", "a:1", "+", "𝄞" * 200, "renew"]
            for name in names:
                queue = self.make(here.server.url.replace("//", "//me%0A:pass%2Fword@"), name=name)
                queue.put(name)
                assert Queue(0, here.server.url, name, ack="auto").get(timeout=5) == name

        return self.run_case(case)

    def test_error_names_the_server_and_what_to_do(self) -> None:
        """For a server that does not run, is another one, or refuses a request."""

        def case(here: ClientCase) -> None:
            away = self.make("http://me:secret@127.0.0.1:1/sub", name="q", patience=0)
            for url, queue, expected in (
                ("", away, "cannot reach http://127.0.0.1:1/sub: connection refused; is TQueueSrv running? "
                           "Start it with: twistd -n --pidfile= tqueuesrv --port 1"),
                ("/deep/down", None, "does not look like a TQueueSrv: it has no /deep/down/q/stats"),
            ):  # fmt: skip
                queue = queue or self.make(here.server.url + url, name="q")
                with self.assertRaises(Exception) as caught:  # type: ignore[attr-defined]
                    queue.stats()
                assert expected in str(caught.exception), str(caught.exception)
            with self.assertRaises(Exception) as caught:  # type: ignore[attr-defined]
                here.queue().config(kep=3)
            assert "422: kep is not a known field; did you mean keep?" in str(caught.exception)

        return self.run_case(case)

    def test_fail_returns_when_the_task_is_tried_again(self) -> None:
        def case(here: ClientCase) -> None:
            queue = here.queue()
            queue.put("a")
            assert queue.fail(queue.get(), "no color", retry=5) == 5
            queue.put("b")
            assert queue.fail(queue.get(), retry=False) is False
            queue.put("c")
            assert 0.5 < queue.fail(queue.get()) < 2
            queue.put("d")
            assert queue.release(queue.get()) is None

        return self.run_case(case)

    def test_item_that_is_not_held_is_named(self) -> None:
        """Without an item, task_done() has the words of the standard library."""

        def case(here: ClientCase) -> None:
            for verb in ("task_done", "fail", "release", "bury", "extend"):
                with self.assertRaises(ValueError) as caught:  # type: ignore[attr-defined]
                    getattr(here.queue(), verb)({"n": 1234})
                assert "does not hold the item {'n': 1234}" in str(caught.exception)
                with self.assertRaises(ValueError) as caught:  # type: ignore[attr-defined]
                    getattr(here.queue(), verb)()
                assert verb in str(caught.exception)
            with self.assertRaises(ValueError) as caught:  # type: ignore[attr-defined]
                here.queue().task_done()
            assert str(caught.exception) == "task_done() called too many times"

        return self.run_case(case)

    def test_one_item_is_not_taken_for_many(self) -> None:
        """Its parts are not items."""

        def case(here: ClientCase) -> None:
            for item in ({"a": 1}, "text", b"bytes"):
                for verb in ("put_many", "put_tasks", "task_done_many"):
                    with self.assertRaises(TypeError) as caught:  # type: ignore[attr-defined]
                        getattr(here.queue(), verb)(item)
                    assert f"not one {type(item).__name__}: put it into a list" in str(caught.exception)
            assert here.stats()["puts"] == 0

        return self.run_case(case)

    def test_invalid_option_is_refused_without_showing_secrets(self) -> None:
        """When the queue is made."""
        wrong: list[tuple[str, dict[str, Any], str]] = [
            ("http://localhost:8082", {"token": "secret\n"}, "character 7 of 7"),
            ("http://localhost:8082", {"token": "sec\r\nX: ret"}, "character 4"),
            ("http://localhost:8082", {"token": "sécret"}, "character 2"),
            ("http://localhost:8082", {"token": b"secret"}, "bytes"),
            ("localhost:8082", {}, "'localhost:8082'"),
            ("http://", {}, "'http://'"),
            ("http://localhost:99999", {}, ":99999"),
            ("http://localhost:x", {}, ":x"),
            ("http://local host", {}, "local host"),
            ("http://localhost\n", {}, "localhost"),
            ("http://localhost/?a=1", {}, "?a=1"),
            ("http://localhost/#a", {}, "#a"),
            ("ftp://me:secret@localhost:x", {}, "//...@localhost"),
            ("http://me:sec/ret@local host", {}, "//...@local host"),
            ("http://localhost", {"name": ""}, "''"),
            ("http://localhost", {"name": "a/b"}, "'a/b'"),
            ("http://localhost", {"name": "a\n"}, "'a\\n'"),
            ("http://localhost", {"name": "\udc80"}, "udc80"),
            ("http://localhost", {"name": "x" * 201}, "xxx"),
            ("http://localhost", {"name": ".."}, "'..'"),
            ("http://localhost", {"name": 7}, "7"),
            ("http://localhost", {"lease": 0}, "0"),
            ("http://localhost", {"lease": float("nan")}, "nan"),
            ("http://localhost", {"lease": 1e6}, "1000000"),
            ("http://localhost", {"patience": -1}, "-1"),
        ]
        for url, options, shown in wrong:
            error = str(self.assertRaises(ValueError, self.make, url, **options))  # type: ignore[attr-defined]
            self.assertIn(shown, error)  # type: ignore[attr-defined]
            self.assertNotRegex(error, "cret|sec/")  # type: ignore[attr-defined]
        with mock.patch.dict(os.environ, {"TQUEUE_TOKEN": "secret\n"}):
            self.assertRaises(ValueError, self.make, "http://localhost")  # type: ignore[attr-defined]


class QueueClientTests(ClientTable, QueueClients, TestCase):
    timeout = 120

    def test_host_that_cannot_be_found_is_looked_up_again(self) -> None:
        looked, real = [], socket.create_connection

        def connect(address: Any, *arguments: Any) -> Any:
            looked.append(address)
            if len(looked) < 3:
                raise socket.gaierror(-3, "Temporary failure in name resolution")
            return real(("127.0.0.1", server.port), *arguments)

        server = Server(options=("--allow-host", "tqueue.invalid")).start()
        self.addCleanup(server.kill)
        self.patch(socket, "create_connection", connect)
        self.assertEqual(self.make("http://tqueue.invalid:8082").qsize(), 0)
        self.assertEqual(looked, [("tqueue.invalid", 8082)] * 3)

    def test_each_thread_finishes_its_own_tasks(self) -> None:
        """A thread that has received none finishes the oldest of the others."""
        server = Server().start()
        self.addCleanup(server.kill)
        queue = self.make(server.url)
        for item in "abcd":
            queue.put(item)

        def in_thread(function: Callable[[], object]) -> None:
            thread = threading.Thread(target=function)
            thread.start()
            thread.join(20)

        def leased() -> list[str]:
            return sorted(each["task"]["item"] for each in queue.peek(state="leased"))

        queue.get()
        queue.get()
        in_thread(lambda: (queue.get(), queue.get(), queue.task_done()))
        self.assertEqual(leased(), ["a", "b", "c"])
        queue.task_done()
        self.assertEqual(leased(), ["a", "c"])
        in_thread(queue.task_done)
        self.assertEqual(leased(), ["c"])
        queue.task_done()
        self.assertRaises(ValueError, queue.task_done)

    def test_loop_over_tasks_logs_a_lost_lease_and_continues(self) -> None:
        server = Server().start()
        self.addCleanup(server.kill)
        queue = self.make(server.url)
        queue.put(1)
        queue.put(2)
        queue.shutdown()
        got = []
        with self.assertLogs("twisted_appserver.tqueue.client.queue", "WARNING") as logs:
            for item in queue.tasks():
                got.append(item)
                (task,) = queue.peek(state="leased")
                if item == 1:
                    queue.done(task["task_id"])
        self.assertEqual(got, [1, 2])
        self.assertIn("had run out", logs.output[0])

    def test_lifo_and_priority_queues_have_blocks_and_receipts(self) -> None:
        server = Server().start()
        self.addCleanup(server.kill)
        for kind in (LifoQueue, PriorityQueue):
            queue = kind(0, server.url, kind.__name__)
            self.addCleanup(queue._pool.close)
            for item in (2, 1):
                queue.put(item)
            with (task := queue.task()) as item:
                self.assertEqual((item, task.item, task.lost), (1, 1, False))
            self.assertEqual((queue.get(), queue.is_lost(2)), (2, False))
            queue.task_done(2)
            self.assertEqual(queue.unfinished_tasks, 0)


class AsyncClientTests(ClientTable, AsyncQueueClients, TestCase):
    timeout = 120

    def test_host_that_cannot_be_found_is_looked_up_again(self) -> Deferred[None]:

        class Names:
            looked = 0

            def request(self, *arguments: Any, **options: Any) -> Any:
                self.looked += 1
                if self.looked < 3:
                    raise DNSLookupError("tqueue.invalid")
                return real.request(*arguments, **options)

        real = self.treq
        names = Names()

        def case(here: ClientCase) -> None:
            assert self.make(here.server.url, treq_client=names).qsize() == 0
            assert names.looked == 3

        return self.run_case(case)

    def test_put_that_is_reset_while_it_is_sent_is_repeated(self) -> Deferred[None]:
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)

        def serve() -> None:
            for _ in range(4):
                with listening.accept()[0] as connection:
                    connection.recv(1000)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            with listening.accept()[0] as connection, connection.makefile("rb") as file:
                file.read(900_000)
                connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"task_id": "1"}')

        def case() -> None:
            thread = threading.Thread(target=serve)
            thread.start()
            self.make(f"http://127.0.0.1:{listening.getsockname()[1]}").put("x" * 900_000)
            thread.join(20)
            assert not thread.is_alive()

        return deferToThread(case)  # type: ignore[no-any-return]
