"""The class Worker: several queues, time limits, and tasks that are got in advance."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.queue_server import ROOT, Server, wait_for
from tests.support.slow import slow
from tests.tqueue.test_work import WorkCase
from twisted_appserver import Retry, RetryLater
from twisted_appserver.tqueue import Worker, current_task
from twisted_appserver.tqueue.client import Queue
from twisted_appserver.tqueue.function_call import WorkerError
from twisted_appserver.tqueue.queue_choice import ChosenQueue, read_queues

SCRIPT = """
import time
from twisted_appserver import RetryLater
from twisted_appserver.tqueue import Worker, current_task

def hangs(task):
    print("begun", flush=True)
    time.sleep(60)

if __name__ == "__main__":
    Worker("q", hangs).run()
"""


class NamesTests(SynchronousTestCase):
    def test_names_without_numbers_are_in_the_order_of_their_priority(self) -> None:
        self.assertEqual(read_queues("emails"), [ChosenQueue("emails")])
        self.assertEqual(read_queues("emails:2"), [ChosenQueue("emails:2")])  # one queue needs no weight
        self.assertEqual(read_queues("b, a"), [ChosenQueue("b"), ChosenQueue("a")])

    def test_numbers_are_weights_and_1_if_they_are_missing(self) -> None:
        self.assertEqual(read_queues("a:2.5,b"), [ChosenQueue("a", 2.5), ChosenQueue("b", 1.0)])
        self.assertEqual(read_queues("x:y:3,b:1"), [ChosenQueue("x:y", 3.0), ChosenQueue("b", 1.0)])

    def test_wrong_names_are_refused(self) -> None:
        for text in ("", "a,,b", "a,a", "a:1,a:2", "a:0,b:1", "a/b,c", ","):
            self.assertRaises(ValueError, read_queues, text)


class WorkerCase(SynchronousTestCase):
    timeout = 60

    def setUp(self) -> None:
        self.server = Server().start()
        self.addCleanup(self.server.kill)
        self.queue = self.make("q")
        self.reports: list[str] = []

    def make(self, name: str) -> Queue:
        queue = Queue(0, self.server.url, name, lease=30, patience=5)
        self.addCleanup(queue._pool.close)
        return queue

    def worker(self, queues: Any, function: Callable[[Any], Any], threads: int = 1, **options: Any) -> Worker:
        worker = Worker(queues, function, threads, url=self.server.url, report=self.reports.append, **options)
        self.addCleanup(worker.stop)
        return worker

    def run_until_shutdown(self, worker: Worker) -> None:
        for queue in worker.queues:
            queue.shutdown()
        worker.run()


class ArgumentTests(SynchronousTestCase):
    """They are checked when the worker is made, without a server."""

    def refused(self, part: str, queues: Any = "q", function: Any = print, **options: Any) -> None:
        error = self.assertRaises(ValueError, Worker, queues, function, **options)
        self.assertIn(part, str(error))

    def test_function_that_cannot_be_called_with_an_item_is_refused(self) -> None:
        async def later(task: Any) -> None: ...

        def two(task: Any, more: Any) -> None: ...

        for function, part in (
            (3, "3 cannot be called"),
            (None, "None cannot be called"),
            (later, "later must be a plain function: a coroutine or generator would not run"),
            (two, "two must accept one argument, the item: it is "),
            (lambda: None, "must accept one argument, the item"),
            ("nowhere:paint", "nowhere"),
        ):
            self.refused(part, function=function)
            self.refused(part, function=function, type="forked")

    def test_queues_that_cannot_be_used_are_refused(self) -> None:
        queue = Queue(name="a")
        for queues, part in (
            ("a/b", "a queue's name must not be"),
            (3, "queues must be names as text, such as 'emails,reports', or Queues, not 3"),
            (None, "not None"),
            (["a", "b"], "not ['a', 'b']"),
            ({"a": 3}, "not {'a': 3}"),
            ([], "a worker needs at least one queue"),
            ({queue: 0}, "the weight of the queue a must be more than 0, not 0"),
            ({queue: "3"}, "not '3'"),
        ):
            self.refused(part, queues)

    def test_options_that_cannot_be_used_are_refused(self) -> None:
        cases: tuple[tuple[str, tuple[Any, ...]], ...] = (
            ("threads", (0, -1, 1.5, "3", None, True)),
            ("prefetch", (-1, 0.5, "3", None)),
            ("time_limit", (0, -1, float("nan"), "3", True)),
            ("delay", (-1, float("nan"), float("inf"), "3", True, Retry(attempts=3))),
            ("patience", (-1, float("nan"), "3", None)),
            ("lease", (0, -1, float("nan"))),
            ("type", ("thread", None)),
        )
        for name, values in cases:
            for value in values:
                self.refused(f"{name} must be ", **{name: value})


class RunTests(WorkerCase):
    def test_tasks_are_performed_until_the_queue_is_shut_down(self) -> None:
        """What the function returns is the result."""
        self.queue.config(keep=60)
        ids = [self.queue.put(number) for number in range(5)]
        worker = self.worker(self.queue, lambda number: number * 2, threads=2)
        self.run_until_shutdown(worker)
        self.assertEqual([self.queue.result(each, 5) for each in ids], [0, 2, 4, 6, 8])
        self.assertEqual((worker.done, worker.failed, worker.lost, worker.alive), (5, 0, 0, False))

    def test_results_that_are_not_kept_are_reported_once_by_all_threads(self) -> None:
        both = threading.Barrier(2)

        class Waiting(Queue):
            def config(self, **options: Any) -> Any:
                both.wait(30)  # both threads have a result to report
                return super().config(**options)

        queue = Waiting(0, self.server.url, "q", patience=5)
        self.addCleanup(queue._pool.close)
        queue.put_many([1, 2])
        worker = self.worker(queue, lambda number: both.wait(30) or number, threads=2)
        worker.options = {"q": {"keep": 0}}
        self.run_until_shutdown(worker)
        self.assertEqual((worker.done, len(self.reports)), (2, 1), self.reports)
        self.assertIn("keeps no results", self.reports[0])

    def test_function_knows_its_task(self) -> None:
        """At every attempt."""
        seen: list[Any] = []

        def note(task: Any) -> None:
            seen.append(current_task())
            if len(seen) == 1:
                raise KeyError(task)

        task_id = self.queue.put(1)
        worker = self.worker(self.queue, note, delay=0)
        worker.start()
        wait_for(lambda: worker.done == 1)
        self.end(worker)
        self.assertEqual(seen, [("q", task_id, 1), ("q", task_id, 2)])
        self.assertRaisesRegex(RuntimeError, "no worker performs a task", current_task)

    def test_task_that_fails_is_buried_at_once_without_a_delay(self) -> None:
        """C{delay=False}; the function may still decide otherwise."""

        def fails(task: Any) -> None:
            raise RetryLater(60) if task else KeyError(task)

        ids = [self.queue.put(item) for item in (0, 1)]
        worker = self.worker(self.queue, fails, delay=False)
        worker.start()
        wait_for(lambda: worker.failed == 2)
        self.end(worker)
        self.assertEqual([self.queue.show(each)["state"] for each in ids], ["buried", "delayed"])

    def end(self, worker: Worker) -> None:
        worker.stop()
        wait_for(lambda: not worker.alive)
        worker.close()

    def test_arguments_that_cannot_be_used_are_refused(self) -> None:
        for options in ({"threads": 0}, {"prefetch": -1}, {"time_limit": 0}):
            self.assertRaises(ValueError, self.worker, self.queue, print, **options)
        self.assertRaises(ValueError, Worker, "q", "no.such_module:function")

    def test_error_of_the_server_ends_the_work_and_is_raised(self) -> None:
        self.server.kill()
        worker = self.worker("q", print, patience=0.0)
        self.assertRaises(OSError, worker.run)
        self.server.start()

    def test_name_is_public_and_needs_no_twisted(self) -> None:
        program = (
            "import sys; from twisted_appserver.tqueue import Worker; "
            "print([name for name in sys.modules if name.startswith('twisted.')])"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
        self.assertEqual((done.stdout, done.stderr), ("[]\n", ""))

    def test_ctrl_c_finishes_the_running_task_and_the_second_gives_it_back(self) -> None:
        self.queue.put(1)
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=ROOT, env={**os.environ, "TQUEUE_URL": self.server.url}, start_new_session=True,
        )  # fmt: skip
        self.addCleanup(process.kill)
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), "begun\n")
        process.send_signal(signal.SIGINT)
        with self.assertRaises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        self.assertIn("KeyboardInterrupt", err)
        self.assertEqual(self.queue.get(timeout=5), 1)
        self.queue.release()


class SeveralQueuesTests(WorkerCase):
    def test_first_queue_that_has_a_task_comes_first(self) -> None:
        seen: list[int] = []
        first, second = self.make("first"), self.make("second")
        for number in range(3):
            second.put(number)
            first.put(number + 10)
        self.run_until_shutdown(self.worker("first,second", seen.append))
        self.assertEqual(seen, [10, 11, 12, 0, 1, 2])

    def test_weights_divide_the_tasks(self) -> None:
        """Of 80 tasks, about 60 come from a queue with the weight 3, and 20 from one with the weight 1."""
        random.seed(7)
        seen: list[int] = []
        queues = [self.make("light"), self.make("heavy")]
        for number, queue in enumerate(queues):
            queue.put_many([number] * 100)
        self.run_until_shutdown(self.worker("light,heavy:3", seen.append))
        self.assertEqual(len(seen), 200)
        self.assertTrue(45 < sum(seen[:80]) < 75, sum(seen[:80]))

    def test_idle_threads_wait_at_different_queues(self) -> None:
        """So a task is found at once, and few requests are made while there is none."""
        queues = [self.make(name) for name in "ab"]
        for queue in queues:
            queue.config(maxsize=1000)  # so that the queue exists, and its requests are counted
        worker = self.worker(queues, print, threads=2)
        worker.start()
        wait_for(lambda: [queue.stats()["getters"] for queue in queues] == [1, 1])
        worker.stop()
        wait_for(lambda: not worker.alive)
        worker.close()

    def test_queue_that_is_shut_down_leaves_the_others(self) -> None:
        seen: list[int] = []
        gone, left = self.make("gone"), self.make("left")
        gone.shutdown()
        worker = self.worker([gone, left], seen.append)
        worker.start()
        left.put(1)
        wait_for(lambda: seen == [1])
        left.shutdown()
        wait_for(lambda: not worker.alive)
        worker.close()

    def test_task_of_any_queue_is_found_by_a_single_thread(self) -> None:
        seen: list[int] = []
        queues = [self.make(name) for name in "abc"]
        worker = self.worker(queues, seen.append)
        worker.start()
        for number, queue in enumerate(queues):
            queue.put(number)
            wait_for(lambda: len(seen) == number + 1, 3.0)  # noqa: B023
        worker.stop()
        wait_for(lambda: not worker.alive)
        worker.close()


class TimeLimitTests(WorkerCase):
    def setUp(self) -> None:
        super().setUp()
        self.going = threading.Event()
        self.addCleanup(self.going.set)
        self.seen: list[Any] = []

    def hangs(self, task: Any) -> Any:
        """Hang, if the task requires it."""
        if task == "hang":
            self.going.wait(30)
        self.seen.append(task)
        return task

    def test_function_that_hangs_fails_its_task_and_another_thread_goes_on(self) -> None:
        """The record has the place where the function was. The worker ends with an error."""
        task_id = self.queue.put("hang")
        self.queue.put("next")
        worker = self.worker(self.queue, self.hangs, time_limit=0.2, delay=60)
        worker.start()
        wait_for(lambda: self.seen == ["next"])
        shown = self.queue.show(task_id)
        self.assertEqual((shown["state"], shown["error"]), ("delayed", "time limit of 0.2 s exceeded"))
        self.assertIn("self.going.wait(30)", shown["attempts"][0]["traceback"])
        self.assertIn("time limit of 0.2 s exceeded\nThe function was here:", self.reports[0])
        wait_for(lambda: worker.done == 1)
        worker.stop()
        wait_for(lambda: not worker.alive)
        self.assertEqual((worker.done, worker.failed, worker.lost, worker.running), (1, 1, 0, 0))
        self.assertIn("still hang", str(self.assertRaises(WorkerError, worker.close)))

    def test_function_that_returns_late_changes_nothing(self) -> None:
        """It is no reason for an error at the end."""
        self.queue.config(keep=60)
        task_id = self.queue.put("hang")
        worker = self.worker(self.queue, self.hangs, time_limit=0.2, delay=60)
        worker.start()
        wait_for(lambda: worker.failed == 1 and len(worker.hanging) == 1)
        self.going.set()
        wait_for(lambda: not worker.hanging)
        self.assertIn("has returned for task", self.reports[-1])
        self.assertEqual(self.queue.show(task_id)["state"], "delayed")
        worker.stop()
        wait_for(lambda: not worker.alive)
        worker.close()
        self.assertEqual((worker.done, worker.failed, worker.lost), (0, 1, 0))

    def test_worker_ends_when_too_many_functions_hang(self) -> None:
        """As many as there are threads may hang at the same time."""
        for _ in range(5):
            self.queue.put("hang")
        worker = self.worker(self.queue, self.hangs, threads=2, time_limit=0.1, delay=60)
        error = self.assertRaises(WorkerError, worker.run)
        self.assertEqual(str(error), "too many functions hang after their time limit: 3")

    def test_fast_functions_are_not_affected(self) -> None:
        for number in range(20):
            self.queue.put(number)
        worker = self.worker(self.queue, self.hangs, threads=2, time_limit=10)
        self.run_until_shutdown(worker)
        self.assertEqual((worker.done, worker.failed, sorted(self.seen)), (20, 0, list(range(20))))


class PrefetchTests(WorkerCase):
    def setUp(self) -> None:
        super().setUp()
        self.going = threading.Event()
        self.addCleanup(self.going.set)
        self.most = self.running = 0

    def waits(self, task: Any) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.going.wait(30)
        self.running -= 1

    def test_tasks_are_got_in_advance_and_performed_one_by_one(self) -> None:
        for number in range(5):
            self.queue.put(number)
        worker = self.worker(self.queue, self.waits, prefetch=2)
        worker.start()
        wait_for(lambda: self.queue.stats()["leased"] == 3)
        self.assertEqual((self.running, self.queue.qsize()), (1, 2))
        self.going.set()
        self.queue.join(20)
        self.assertEqual(self.most, 1)
        worker.stop()
        wait_for(lambda: not worker.alive)
        worker.close()

    def test_idle_worker_takes_no_more_tasks_than_it_has_threads_at_once(self) -> None:
        """And waits with one request for each thread."""
        worker = self.worker(self.queue, self.waits, prefetch=4)
        self.queue.config(maxsize=1000)  # so that the queue exists, and its requests are counted
        worker.start()
        wait_for(lambda: self.queue.stats()["getters"] == 1)
        self.assertEqual({self.queue.stats()["getters"] for _ in range(50)} - {0}, {1})
        worker.stop()
        wait_for(lambda: not worker.alive)
        worker.close()

    def test_stopping_gives_the_waiting_tasks_back_at_once(self) -> None:
        """While the running one is finished."""
        for number in range(3):
            self.queue.put(number)
        worker = self.worker(self.queue, self.waits, prefetch=2, delay=60)  # a delay is for failures
        worker.start()
        wait_for(lambda: self.queue.stats()["leased"] == 3)
        worker.stop()
        wait_for(lambda: self.queue.stats()["ready"] == 2)
        self.going.set()
        wait_for(lambda: not worker.alive)
        worker.close()
        self.assertEqual((worker.done, worker.failed, worker.lost), (1, 0, 0))


class CommandTests(WorkCase):
    @slow
    def test_function_that_hangs_makes_the_command_end_with_status_2(self) -> None:
        """After the first Ctrl-C, which does not wait for it."""
        self.queue.put(1)
        process = self.command("work", "jobs:hangs", "--time-limit", "0.2", "--delay", "60")
        wait_for(lambda: self.queue.stats()["delayed"] == 1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        self.assertEqual((process.returncode, out), (2, "0 done, 1 failed, 0 lost\n"))
        self.assertIn("time limit of 0.2 s exceeded", err)
        self.assertIn("tqueue: functions that still hang after their time limit: 1\n", err)

    def test_several_queues_are_named_with_commas(self) -> None:
        other = Queue(0, self.server.url, "other")
        self.addCleanup(other._pool.close)
        other.put(1)
        self.queue.put(2)
        self.queue.shutdown()
        other.shutdown()
        command = [
            sys.executable,
            "-m",
            "twisted_appserver.tqueue.command",
            "work",
            self.server.url,
            "other,q",
        ]
        done = subprocess.run(
            [*command, "jobs:returns", "--prefetch", "1"], cwd=self.folder, capture_output=True, text=True,
            timeout=30, env={**os.environ, "PYTHONPATH": ROOT},
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stdout), (0, "2 done, 0 failed, 0 lost\n"))
        self.assertIn("for each task of the queues other,q at", done.stderr)
        self.assertIn("2 tasks left", done.stderr)
        self.assertIn("the queues other,q have been shut down", done.stderr)
