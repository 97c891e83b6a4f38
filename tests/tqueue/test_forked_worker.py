"""Workers whose functions run in processes."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from tests.support import task_functions
from tests.support.queue_server import wait_for
from tests.support.slow import slow
from tests.tqueue.test_work import WorkCase
from tests.tqueue.test_worker import WorkerCase
from twisted_appserver.tqueue import Worker
from twisted_appserver.tqueue.function_call import WorkerError


def runs(pid: int) -> bool:
    """Return whether a process exists and has not ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def has_ended(child: int) -> bool:
    """
    Return whether a child has ended with all of its threads.

    It is a zombie before that, as soon as its first thread has ended.
    """
    try:
        return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # its status was fetched
        return True


class ForkedCase(WorkerCase):
    def setUp(self) -> None:
        super().setUp()
        self.queue.config(keep=60)

    def begin(self, *tasks: dict[str, Any], threads: int = 1, **options: Any) -> tuple[Worker, list[str]]:
        """Put tasks, and start a worker."""
        ids = [self.queue.put(task) for task in tasks]
        worker = self.worker(
            self.queue, task_functions.act, threads, type="forked", **{"delay": 60.0, **options}
        )
        worker.start()
        self.addCleanup(self.end, worker)
        return worker, ids

    def end(self, worker: Worker) -> None:
        worker.stop()
        wait_for(lambda: not worker.alive)
        worker.close()

    def error(self, task_id: str) -> str:
        """Return why a task has failed, once it has."""
        wait_for(lambda: self.queue.show(task_id)["state"] in ("delayed", "buried"))
        return str(self.queue.show(task_id)["error"])


class CallTests(ForkedCase):
    def test_results_and_failures_are_those_of_threads(self) -> None:
        worker, ids = self.begin(
            {"do": "return", "value": (1, b"x")}, {"do": "raise"}, {"do": "give_up"}, {"do": "object"},
        )  # fmt: skip
        self.assertEqual(self.queue.result(ids[0], 20), ((1, b"x"), {"value": (1, b"x")}))
        self.assertEqual(self.error(ids[1]), "KeyError: 'color'")
        self.assertEqual(self.error(ids[2]), "GiveUp: no such customer")
        self.assertEqual(self.queue.show(ids[2])["state"], "buried")
        self.assertIn("the result cannot be sent: tasks and results cannot hold <object", self.error(ids[3]))
        wait_for(lambda: (worker.done, worker.failed) == (1, 3))
        lines = self.reports[0].splitlines()
        self.assertEqual(lines[1], "Traceback (most recent call last):")
        self.assertIn("task_functions.py", lines[2])

    def test_function_knows_its_task(self) -> None:
        _, ids = self.begin({"do": "current"}, {"do": "current"})
        for each in ids:
            self.assertEqual(self.queue.result(each, 20), ("q", each, 1))

    def test_each_thread_has_a_process_which_it_keeps(self) -> None:
        _, ids = self.begin(*[{"do": "pid"}] * 20, threads=2)
        pids = {self.queue.result(each, 20) for each in ids}
        self.assertTrue(1 <= len(pids) <= 2 and os.getpid() not in pids, pids)

    def test_function_changes_no_signal_for_the_next_task(self) -> None:
        _, ids = self.begin({"do": "change_signals"}, {"do": "sleep", "seconds": 0.6})
        self.assertEqual(self.queue.result(ids[1], 20), 0.6)

    def test_function_that_processes_cannot_import_is_refused(self) -> None:
        error = self.assertRaises(ValueError, self.worker, self.queue, lambda task: task, type="forked")
        self.assertIn("must be able to import the function", str(error))
        self.assertRaises(ValueError, self.worker, self.queue, print, type="dask")


class DeathTests(ForkedCase):
    @slow
    def test_process_that_dies_fails_its_task_and_is_replaced(self) -> None:
        going = os.path.abspath(self.mktemp())
        self.addCleanup(os.mkdir, going)
        _, ids = self.begin(
            {"do": "exit", "status": 3}, {"do": "signal", "number": int(signal.SIGSEGV)},
            {"do": "leave_a_child", "until": going}, {"do": "pid"},
        )  # fmt: skip
        self.assertGreater(self.queue.result(ids[3], 20), 0)
        self.assertEqual(self.error(ids[0]), "the worker process died (status 3)")
        self.assertEqual(self.error(ids[1]), "the worker process died (signal 11)")
        self.assertEqual(self.error(ids[2]), "the worker process died (status 4)")

    def test_process_that_dies_while_it_is_idle_fails_no_task(self) -> None:
        worker, ids = self.begin({"do": "pid"})
        pid = self.queue.result(ids[0], 20)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: has_ended(pid))
        self.assertNotEqual(self.queue.result(self.queue.put({"do": "pid"}), 20), pid)
        self.assertEqual(worker.failed, 0)

    @slow
    def test_process_is_killed_at_the_time_limit(self) -> None:
        """Even if it does not release the interpreter's lock. Nothing hangs at the end."""
        _, ids = self.begin({"do": "pid"}, {"do": "hang"}, {"do": "hang_in_c"}, {"do": "pid"}, time_limit=0.5)
        first, last = (self.queue.result(ids[each], 20) for each in (0, 3))
        self.assertEqual([self.error(each) for each in ids[1:3]], ["time limit of 0.5 s exceeded"] * 2)
        for task_id, place in ((ids[1], "in do_hang"), (ids[2], "in do_hang_in_c")):
            lines = self.queue.show(task_id)["attempts"][0]["traceback"].splitlines()
            self.assertEqual(lines[0], "The function was here:")
            self.assertRegex(lines[1], r'File ".*task_functions.py", line \d+, in act$')
            self.assertTrue(lines[-1].endswith(place), lines)
        self.assertNotEqual(first, last)
        self.assertFalse(runs(first))

    def test_process_that_cannot_start_ends_the_work_and_fails_no_task(self) -> None:
        task_functions.only_here = task_functions.act  # type: ignore[attr-defined]
        self.addCleanup(delattr, task_functions, "only_here")
        task_id = self.queue.put({"do": "pid"})
        worker = self.worker(self.queue, "tests.support.task_functions:only_here", type="forked")
        error = self.assertRaises(WorkerError, worker.run)
        self.assertIn("has no function only_here", str(error))
        self.assertEqual((self.queue.show(task_id)["state"], worker.failed), ("ready", 0))


class ForkedCommandTests(WorkCase):
    def setUp(self) -> None:
        super().setUp()
        self.queue.config(keep=60)
        with open(os.path.join(self.folder, "jobs.py"), "w") as file:
            file.write(
                "import os, sys, time\n"
                "def pid_for(task):\n"
                "    with open('notes', 'a') as file: file.write(f'{os.getpid()}\\n')\n"
                "    time.sleep(task)\n"
                "    return os.getpid(), [name for name in sys.modules if name.startswith('twisted.')]\n"
            )

    def start(self, seconds: float) -> tuple[Any, int, str]:
        """Start the command and a task of so many seconds. Return the process of the task too, and its id."""
        task_id = self.queue.put(seconds)
        process = self.command("work", "jobs:pid_for", "--type", "forked", "--time-limit", "50")
        wait_for(lambda: bool(self.notes()))
        return process, int(self.notes()[0]), task_id

    def test_processes_end_when_the_worker_is_killed(self) -> None:
        process, pid, _ = self.start(60)
        self.assertTrue(runs(pid))
        process.kill()
        process.wait(20)
        wait_for(lambda: not runs(pid), 5.0)

    def test_first_ctrl_c_lets_the_processes_finish(self) -> None:
        """Although the terminal sends it to all processes."""
        process, pid, task_id = self.start(1)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=20)
        self.assertEqual((process.returncode, out), (0, "1 done, 0 failed, 0 lost\n"))
        self.assertNotIn("Traceback", err)
        self.assertIn("1 process, leases of", err)
        self.assertEqual(self.queue.result(task_id, 5), (pid, []))  # it imports no Twisted
        self.assertFalse(runs(pid))

    def test_second_ctrl_c_kills_the_processes_and_gives_the_tasks_back(self) -> None:
        process, pid, task_id = self.start(60)
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=20)
        self.assertEqual((process.returncode, out), (130, "0 done, 0 failed, 0 lost\n"))
        self.assertIn("gave 1 running task back", err)
        wait_for(lambda: not runs(pid), 5.0)
        self.assertEqual(self.queue.show(task_id)["state"], "ready")
        self.assertEqual(self.queue.get(timeout=5), 60)
        self.queue.release()
