"""The command C{tqueue} under faults, and forked processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.support.faulty_proxy import FaultyProxy
from tests.support.queue_server import ROOT, Server, wait_for
from tests.support.slow import slow
from tests.support.terminal import run_in_terminal, screen
from twisted_appserver.tqueue import stop_signals
from twisted_appserver.tqueue.client import Queue
from twisted_appserver.tqueue.client.async_queue import AsyncQueue
from twisted_appserver.tqueue.stop_signals import SAME

JOBS = '''
import logging, multiprocessing, os, subprocess, sys, time
from twisted_appserver.tqueue.client import Queue

def note(text):
    with open("notes", "a") as file:
        file.write(f"{text}\\n")

def forks(task):
    """The child returns, raises or exits where the function ends."""
    child = os.fork()
    if child == 0:
        note(f"child {task}")
        if task == 1:
            raise KeyError("in the child")
        if task == 2:
            sys.exit(7)
        return
    note(f"status {task} {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")

def terminates(task):
    """Terminate a child process as usual."""
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    child.terminate()
    child.join(20)
    note(f"status {task} {child.exitcode}")

def hangs(task):
    note("begun")
    time.sleep(60)

def slow(task):
    note("begun")
    while not os.path.exists("go"):
        time.sleep(0.01)

def divides(task):
    return 1 / task["n"]

def returns(task):
    return {"task": task}

def prints(task):
    time.sleep(0.1)
    print("out", task, "and more")
    print("err", task, file=sys.stderr)
    logging.warning("log %s", task)

async def coroutine(task):
    pass

hidden = lambda task: coroutine(task)
logging.basicConfig()
'''


def open_descriptors() -> list[int]:
    found = []
    for number in range(256):
        with contextlib.suppress(OSError):
            os.fstat(number)
            found.append(number)
    return found


class WorkCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server().start()
        self.addCleanup(self.end, self.server)
        self.queue = Queue(0, self.server.url, "q", lease=30)
        self.addCleanup(self.queue._pool.close)
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)
        with open(os.path.join(self.folder, "jobs.py"), "w") as file:
            file.write(JOBS)

    def end(self, server: Server) -> None:
        server.signal(signal.SIGCONT)
        server.kill()

    def command(self, *arguments: str, url: str = "", **environ: str) -> subprocess.Popen[str]:
        """Start C{tqueue VERB URL q ...}. It prints a warning for each socket that it leaves open."""
        verb, *rest = arguments
        command = [sys.executable, "-X", "dev", "-m", "twisted_appserver.tqueue.command", verb]
        process = subprocess.Popen(
            [*command, url or self.server.url, "q", *rest],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": ROOT, "PYTHONWARNINGS": "default::ResourceWarning", **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.addCleanup(self.reap, process)
        return process

    def reap(self, process: subprocess.Popen[str]) -> None:
        """Kill it and every process that it has forked."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()

    def run_command(self, *arguments: str, **options: Any) -> tuple[int | None, str, str]:
        process = self.command(*arguments, **options)
        out, err = process.communicate(timeout=40)
        self.assertNotIn("ResourceWarning", err)
        return process.returncode, out, err

    def notes(self) -> list[str]:
        try:
            with open(os.path.join(self.folder, "notes")) as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []


class VerbTests(WorkCase):
    def test_field_named_worker_is_refused(self) -> None:
        """In one line, unless it has the name of the queue."""
        for fields in (["worker=x"], ["worker=1", "a=1"], ['{"worker": null}']):
            status, out, err = self.run_command("put", *fields)
            self.assertEqual((status, out, err.count("\n")), (2, "", 1))
            self.assertIn("'worker' is reserved", err)
        status, _, err = self.run_command("put", "worker=q", "a=1")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(self.queue.get(timeout=5), {"a": 1})
        self.queue.put({"worker": "x"})  # the Python client may use this name
        self.assertEqual(self.queue.get(timeout=5), {"worker": "x"})

    def test_each_key_names_one_put(self) -> None:
        """Keys are any text, in any order, and among the puts of clients."""
        ids = []
        for key in ("invoice:1", "invoice:2", "invoice:1", "invoice:2", "7", "ü"):
            self.queue.put({"between": 1})
            status, out, err = self.run_command("put", "n=1", "--key", key)
            self.assertEqual((status, err), (0, ""))
            ids.append(json.loads(out)["task_id"])
        self.assertEqual((ids[0], ids[1], len(set(ids))), (ids[2], ids[3], 4))
        for key in ("", "\1a", "x" * 501):
            status, out, err = self.run_command("put", "n=1", "--key", key)
            self.assertEqual((status, out, err.count("\n")), (2, "", 1))

    def test_invalid_token_or_url_is_one_line_without_secrets(self) -> None:
        for options in ({"TQUEUE_TOKEN": "secret\n"}, {"url": "http://me:secret@local host:80"}):
            status, out, err = self.run_command("qsize", **options)
            self.assertEqual((status, out, err.count("\n")), (2, "", 1))
            self.assertNotIn("secret", err)

    def test_late_done_with_a_delivery_does_not_finish_another_workers_task(self) -> None:
        """C{get} prints the delivery."""
        self.queue.put(1)
        got = json.loads(self.run_command("get")[1])
        self.assertEqual(got["delivery"], 1)
        self.queue.release(task_id=got["task_id"])
        again = json.loads(self.run_command("get")[1])
        self.assertEqual((again["task_id"], again["delivery"]), (got["task_id"], 2))
        self.assertEqual(self.run_command("done", got["task_id"], "--delivery", "1")[0], 1)
        self.assertEqual(self.queue.stats()["leased"], 1)
        self.assertEqual(self.run_command("done", got["task_id"], "--delivery", "2")[0], 0)

    def test_lost_responses_of_the_command_have_one_effect(self) -> None:
        """For put, get, done and kick."""
        proxy = FaultyProxy(self.server.port)
        self.addCleanup(proxy.close)
        proxy.faults += [(verb, "lost") for verb in ("put", "get", "done", "kick")]
        self.assertEqual(self.run_command("put", "n=1", url=proxy.url)[0], 0)
        got = json.loads(self.run_command("get", url=proxy.url)[1])
        self.assertEqual((self.queue.qsize(), got["delivery"]), (0, 1))
        self.assertEqual(self.run_command("done", got["task_id"], url=proxy.url)[0], 0)
        self.assertEqual(self.queue.stats()["dones"], 1)
        for number in range(4):
            self.queue.put(number)
            task = self.queue._lease(5.0)
            self.queue.bury(task_id=task.task_id)
        out = self.run_command("kick", "-n", "2", url=proxy.url)[1]
        self.assertEqual((json.loads(out)["kicked"], proxy.faults), (2, []))
        self.assertEqual(self.queue.stats()["buried"], 2)


class WorkTests(WorkCase):
    def work(self, function: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        return self.command("work", f"jobs:{function}", *arguments, **options)

    def work_all(self, function: str, count: int, *arguments: str) -> tuple[str, str]:
        """Put tasks, and let C{work} do all of them."""
        before = self.queue.stats()["dones"]
        for number in range(count):
            self.queue.put(number)
        process = self.work(function, *arguments)
        wait_for(lambda: self.queue.stats()["dones"] == before + count)
        process.terminate()
        out, err = process.communicate(timeout=20)
        self.assertEqual((process.returncode, self.queue.stats()["leased"]), (0, 0))
        return out, err

    @slow
    def test_child_of_a_task_ends_where_the_function_ends(self) -> None:
        """It receives no task."""
        for threads in ("1", "3"):
            out, err = self.work_all("forks", 3, "--threads", threads)
            self.assertIn("3 done, 0 failed", out)
            self.assertIn("KeyError: 'in the child'", err)
            self.assertNotIn("ResourceWarning", err)
        found = sorted(set(self.notes()))
        self.assertEqual(found, ["child 0", "child 1", "child 2", "status 0 0", "status 1 1", "status 2 7"])

    def test_child_of_multiprocessing_can_be_terminated(self) -> None:
        """Although C{work} handles SIGTERM."""
        out, _ = self.work_all("terminates", 2)
        self.assertIn("2 done", out)
        self.assertEqual(self.notes(), ["status 0 -15", "status 1 -15"])

    def test_first_ctrl_c_finishes_the_task_and_the_second_ends_at_once(self) -> None:
        self.queue.put(1)
        process = self.work("hangs")
        wait_for(lambda: self.notes() == ["begun"])
        process.send_signal(signal.SIGINT)
        with self.assertRaises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        self.assertEqual((process.returncode, out), (130, "0 done, 0 failed, 0 lost\n"))
        self.assertIn("stopping, finishing 1 running task; press Ctrl-C again", err)
        self.assertIn("gave 1 running task back to the queue", err)
        self.assertEqual((self.queue.stats()["leased"], self.queue.get(timeout=5)), (0, 1))
        self.queue.release()

    def test_idle_work_ends_soon_after_the_first_ctrl_c(self) -> None:
        process = self.work("hangs", "--threads", "3")
        wait_for(lambda: self.queue.stats()["getters"] == 3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        self.assertEqual((process.returncode, out), (0, "0 done, 0 failed, 0 lost\n"))
        self.assertTrue(err.endswith("tqueue: stopping\n"), err)

    def test_option_of_the_queue_is_the_length_of_a_lease(self) -> None:
        self.queue.config(lease=300)
        self.queue.shutdown()
        _, _, err = self.run_command("work", "jobs:slow")
        self.assertIn("1 thread, leases of 300 seconds, 0 tasks left", err)

    def test_banner_names_the_function_the_queue_the_server_and_how_to_stop(self) -> None:
        self.queue.put(1)
        self.queue.shutdown()
        with open(os.path.join(self.folder, "go"), "w"):
            pass
        status, out, err = self.run_command("work", "jobs:slow", "--threads", "2", "--lease", "9")
        self.assertEqual((status, out), (0, "1 done, 0 failed, 0 lost\n"))
        self.assertEqual(
            err,
            f"tqueue: calling jobs:slow for each task of the queue q at {self.server.url}\n"
            "tqueue: 2 threads, leases of 9 seconds, 1 task left; "
            "Ctrl-C finishes the running tasks and stops\n"
            "tqueue: the queue q has been shut down\n",
        )

    def test_failure_names_the_task_and_begins_with_the_function(self) -> None:
        self.queue.config(max_deliveries=2)
        task = self.queue.put_task({"n": 0, "long": "x" * 5000})["task_id"]
        process = self.work("divides", "--delay", "0")
        wait_for(lambda: self.queue.stats()["buried"])
        process.terminate()
        _, err = process.communicate(timeout=20)
        first, second = err.split(f"tqueue: task {task} of q failed, attempt ")[1:]
        self.assertTrue(first.startswith("1: {'n': 0, 'long': 'xxx"), first)
        self.assertLess(len(first), 1000)
        self.assertRegex(
            first,
            r"""\(50\d\d characters\)\nTraceback \(most recent call last\):\n  File ".*jobs.py", line """,
        )
        self.assertNotIn("twisted_appserver", first)
        self.assertIn("\nZeroDivisionError: ", first)
        self.assertTrue(first.endswith("\nIt is tried again at once.\n"), first)
        self.assertIn("\nIt is buried after 2 attempts; tqueue kick q makes it ready again.\n", second)

    def test_failed_task_has_the_pause_of_its_queue(self) -> None:
        """The report contains the pause that the server has chosen."""
        self.queue.config(retry_first=250, retry_jitter=0)
        self.queue.put_task({"n": 0})
        process = self.work("divides")
        wait_for(lambda: self.queue.stats()["delayed"])
        process.terminate()
        _, err = process.communicate(timeout=20)
        self.assertIn("\nIt is tried again in 250 s.\n", err)

    def test_results_that_the_queue_does_not_keep_are_reported_once(self) -> None:
        for number in range(3):
            self.queue.put(number)
        self.queue.shutdown()
        status, out, err = self.run_command("work", "jobs:returns")
        self.assertEqual((status, out), (0, "3 done, 0 failed, 0 lost\n"))
        self.assertEqual(err.count("but the queue q keeps no results; tqueue config q keep=3600"), 1)

    def test_task_whose_coroutine_would_not_run_fails(self) -> None:
        self.queue.config(max_deliveries=1)
        self.queue.put(1)
        process = self.work("hidden")
        wait_for(lambda: self.queue.stats()["buried"])
        process.terminate()
        out, err = process.communicate(timeout=20)
        self.assertIn("0 done, 1 failed", out)
        self.assertIn("TypeError: the function returned a coroutine, which was never run", err)

    @slow
    def test_task_of_a_killed_worker_is_done_by_another(self) -> None:
        self.queue.put(1)
        process = self.work("slow", "--lease", "1")
        wait_for(lambda: self.notes() == ["begun"])
        process.kill()
        other = self.work("slow", "--lease", "1")
        wait_for(lambda: self.notes() == ["begun", "begun"])
        with open(os.path.join(self.folder, "go"), "w"):
            pass
        wait_for(lambda: self.queue.stats()["dones"] == 1)
        other.terminate()
        self.assertIn("1 done, 0 failed, 0 lost", other.communicate(timeout=20)[0])

    def test_second_ctrl_c_ends_at_once_although_the_server_is_away(self) -> None:
        self.queue.put(1)
        process = self.work("hangs")
        wait_for(lambda: self.notes() == ["begun"])
        self.server.kill()
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        wait_for(lambda: "stopping" in process.stderr.readline())  # type: ignore[union-attr]
        time.sleep(SAME)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 130)
        self.assertIn("running tasks return to the queue when their leases end", err)

    def test_status_is_2_when_the_server_goes_away_for_longer_than_patience(self) -> None:
        process = self.work("hangs", "--patience", "0")
        wait_for(lambda: self.queue.stats()["getters"] == 1)
        self.server.kill()
        _, err = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 2)
        self.assertIn(f"tqueue: cannot reach {self.server.url}", err)

    def test_output_of_functions_stands_above_the_bar(self) -> None:
        for number in range(30):
            self.queue.put(number)
        self.queue.shutdown()
        command = [sys.executable, "-m", "twisted_appserver.tqueue.command", "work", "q", "jobs:prints"]
        environ = {"PYTHONPATH": ROOT, "TQUEUE_URL": self.server.url}
        status, raw = run_in_terminal([*command, "--threads", "3"], self.folder, environ)
        shown = screen(raw)
        self.assertEqual((status, shown[-2]), (0, "30 done, 0 failed, 0 lost"))
        for number in range(30):
            for line in (f"out {number} and more", f"err {number}", f"WARNING:root:log {number}"):
                self.assertEqual(shown.count(line), 1, line)
        self.assertRegex(raw, r"\d/30|\d left, ")  # the bar was there

    def test_tasks_whose_leases_were_lost_do_not_count_as_done(self) -> None:
        for number in range(4):
            self.queue.put(number)
        process = self.work("slow", "--threads", "4")
        wait_for(lambda: len(self.notes()) == 4)
        self.server.kill()
        self.server.start()  # it no longer has the tasks
        with open(os.path.join(self.folder, "go"), "w"):
            pass
        wait_for(lambda: self.queue.stats()["getters"] == 4)
        process.terminate()
        out, err = process.communicate(timeout=20)
        self.assertEqual((process.returncode, self.queue.stats()["dones"]), (0, 0))
        self.assertIn("0 done, 0 failed, 4 lost", out)
        self.assertEqual(err.count("had run out before it was done"), 4)

    @slow
    def test_worker_frozen_for_longer_than_its_lease_counts_its_task_as_lost(self) -> None:
        """Then it continues."""
        self.queue.put(1)
        process = self.work("slow", "--lease", "1")
        wait_for(lambda: self.notes() == ["begun"])
        process.send_signal(signal.SIGSTOP)
        self.assertEqual(self.queue.get(timeout=20), 1)
        with open(os.path.join(self.folder, "go"), "w"):
            pass
        process.send_signal(signal.SIGCONT)
        wait_for(lambda: self.queue.stats()["getters"] == 1)
        self.queue.task_done()
        process.terminate()
        out, _ = process.communicate(timeout=20)
        self.assertIn("0 done, 0 failed, 1 lost", out)

    def test_work_waits_for_a_server_until_patience_ends(self) -> None:
        """Without C{--patience} it waits for ever."""
        self.server.kill()
        status, out, err = self.run_command("work", "jobs:hangs", "--patience", "0.5")
        self.assertEqual((status, "0 done" in out, "refused" in err), (2, True, True))
        process = self.work("slow", "--quiet")
        with open(os.path.join(self.folder, "go"), "w"):
            pass
        assert process.stderr is not None
        self.assertRegex(process.stderr.readline(), f"cannot reach {self.server.url}: .* \\(trying again\\)$")
        self.server.start()
        self.queue.put(1)
        wait_for(lambda: self.queue.stats()["dones"] == 1)
        self.server.kill()
        process.terminate()
        process.communicate(timeout=30)  # it does not wait for the server now

    def test_coroutine_function_is_refused(self) -> None:
        """C{work} would call it and never run it."""
        status, out, err = self.run_command("work", "jobs:coroutine")
        self.assertEqual((status, out, err.count("\n")), (2, "", 1))


class SignalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 5.0
        self.stopped = 0
        self.handlers: dict[int, Any] = {}
        self.patch(
            stop_signals, "signal", SimpleNamespace(**{**vars(signal), "signal": self.handlers.__setitem__})
        )
        self.patch(stop_signals, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.patch(stop_signals, "protect", lambda owner, descriptors: None)
        self.signals = stop_signals.StopSignals(SimpleNamespace(stop=self.stop))  # type: ignore[arg-type]

    def stop(self) -> None:
        self.stopped += 1

    def send(self, number: int) -> tuple[bool, bool]:
        """Handle a signal. Return whether the work must stop, and whether at once."""
        self.handlers[number](number, None)
        return self.signals.stopping, self.signals.at_once

    def test_ctrl_c_that_is_sent_twice_at_the_same_moment_counts_once(self) -> None:
        """As by programs that send it once more to the program that they have started."""
        self.assertEqual((self.signals.stopping, self.signals.at_once), (False, False))
        self.assertEqual(self.send(signal.SIGINT), (True, False))
        self.now += SAME / 2
        self.assertEqual(self.send(signal.SIGINT), (True, False))
        self.now += 2 * SAME
        self.assertEqual(self.send(signal.SIGINT), (True, True))

    def test_sigterm_never_ends_the_work_at_once(self) -> None:
        for _ in range(3):
            self.now += 1.0
            self.assertEqual(self.send(signal.SIGTERM), (True, False))
        self.assertEqual(self.send(signal.SIGINT), (True, False))  # the first Ctrl-C
        self.assertEqual(self.stopped, 4)


class ForkTests(WorkCase):
    def child(self, function: Any) -> int:
        """Call a function in a forked process. Return its exit status."""
        child = os.fork()
        if child == 0:
            status = 1
            try:
                function()
                status = 0
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def test_child_has_its_own_connections(self) -> None:
        """Whatever it closes, the connections of the parent stay open."""
        self.queue.put(1)
        (idle,) = self.queue._pool._open
        inherited = os.fstat(idle._socket.fileno())
        local = idle._socket.getsockname()

        def in_child() -> None:
            assert not any(os.path.samestat(os.fstat(each), inherited) for each in open_descriptors())
            self.queue.put(2)
            self.queue.close()

        self.assertEqual(self.child(in_child), 0)
        self.queue.put(3)
        (still,) = self.queue._pool._open
        self.assertEqual(still._socket.getsockname(), local)
        self.assertEqual(self.queue.qsize(), 3)

    def test_child_that_leaves_a_loop_does_not_finish_the_parents_task(self) -> None:
        """The loop of the child ends."""
        for number in range(3):
            self.queue.put(number)
        self.queue.shutdown()
        got = []
        for item in self.queue.tasks():
            got.append(item)
            if item == 0 and (child := os.fork()) == 0:
                continue
        if got == [0] and child == 0:
            os._exit(5)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 5)
        self.assertEqual((got, self.queue.unfinished_tasks), ([0, 1, 2], 0))

    def test_async_queue_that_was_used_before_a_fork_refuses_the_child(self) -> None:
        """One that was not used works, and has new keys."""
        clock = Clock()
        asked: list[Deferred[Any]] = []

        class Treq:
            def request(self, *arguments: Any, **options: Any) -> Deferred[Any]:
                asked.append(options["params"])
                return Deferred()

        used, new = (AsyncQueue("http://x", "q", clock, Treq()) for _ in range(2))
        used.put(1)

        def in_child() -> None:
            self.failureResultOf(used.put(2), RuntimeError)
            assert len(asked) == 1
            new.put(3)
            os.write(writing, str(asked[1]).encode())

        reading, writing = os.pipe()
        self.assertEqual(self.child(in_child), 0)
        new.put(3)
        os.close(writing)
        with open(reading) as file:
            self.assertNotEqual(file.read(), str(asked[1]))
        for each in clock.getDelayedCalls():
            each.cancel()

    def test_child_forked_beside_threads_can_use_the_queue(self) -> None:
        going = threading.Event()
        threads = [threading.Thread(target=self.use, args=(going,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        statuses = [self.child(lambda: self.queue.put(1)) for _ in range(20)]
        going.set()
        for thread in threads:
            thread.join(20)
        self.assertEqual((statuses, self.queue.qsize()), ([0] * 20, 20))

    def use(self, over: threading.Event) -> None:
        while not over.is_set():
            self.queue.maxsize = 0
