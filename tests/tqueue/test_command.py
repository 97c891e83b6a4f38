"""The command C{tqueue}: every verb, its output, its messages and its exit statuses."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from tests.support.queue_server import ROOT, Server
from tests.support.slow import slow
from twisted_appserver.tqueue.client import Queue
from twisted_appserver.tqueue.command import main
from twisted_appserver.tqueue.command.parser import OTHER_WORDS, VERBS
from twisted_appserver.tqueue.wire import CHANGING, READING, SHOWING, SINGLE

NOWHERE = "http://127.0.0.1:1"  # no server listens there


class Terminal(io.StringIO):
    """Standard input of a person."""

    def isatty(self) -> bool:
        return True


class CommandCase(SynchronousTestCase):
    url = NOWHERE

    def tqueue(self, *words: str, lines: str | io.StringIO = "", **environ: str) -> tuple[Any, str, str]:
        """
        Run the command in this process.

        @return: the exit status, standard output and standard error.
        """
        out, err = io.StringIO(), io.StringIO()
        stdin = io.StringIO(lines) if isinstance(lines, str) else lines
        environment = {"TQUEUE_URL": self.url, **environ}
        with (
            redirect_stdout(out),
            redirect_stderr(err),
            patch("sys.stdin", stdin),
            patch.dict(os.environ, environment),
        ):
            try:
                status = main(words)
            except SystemExit as end:
                status = end.code  # type: ignore[assignment]
        return status, out.getvalue(), err.getvalue()

    def good(self, *words: str, **options: Any) -> str:
        """Run the command, which must succeed without a message. Return what it prints."""
        status, out, err = self.tqueue(*words, **options)
        self.assertEqual((status, err), (0, ""), words)
        return out

    def bad(self, expected: int, *words: str, **options: Any) -> str:
        """Run the command, which must fail with this status. Return its message, which is one line."""
        status, _, err = self.tqueue(*words, **options)
        self.assertEqual((status, err.count("\n")), (expected, 1), (words, err))
        return err


class ServerCase(CommandCase):
    def setUp(self) -> None:
        server = Server().start()
        self.addCleanup(server.kill)
        self.url = server.url
        self.queue = Queue(0, server.url, "q")
        self.addCleanup(self.queue._pool.close)

    def put(self, *numbers: int) -> list[str]:
        """Put tasks. Return their ids."""
        return [self.queue.put_task({"n": number})["task_id"] for number in numbers]


class HelpTests(CommandCase):
    def test_help_lists_every_verb_below_its_group(self) -> None:
        for words in ((), ("--help",), ("-h",), ("help",)):
            status, out, err = self.tqueue(*words)
            self.assertEqual((status, bool(out), bool(err)), (0, True, False) if words else (2, False, True))
            text = out or err
            for group in ("Tasks:", "Queues:", "Workers:", "TQUEUE_URL", "TQUEUE_TOKEN", "Exit status"):
                self.assertIn(group, text)
            for verb in VERBS:
                self.assertRegex(text, rf"(?m)^  {verb} +\w")
            self.assertLess(max(map(len, text.splitlines())), 110)

    def test_each_verb_has_help_with_an_example_that_can_be_parsed(self) -> None:
        for name, verb in VERBS.items():
            for words in ((name, "--help"), ("help", name)):
                out = self.good(*words)
                self.assertIn(f"Example: tqueue {name} {verb.example}", out)
                self.assertIn("--url", out)
            example = [each for each in verb.example.split() if each != "--help"]
            if name != "work":
                self.assertIn(
                    "cannot reach", self.bad(2, name, *example, "--url", NOWHERE, "--patience", "0")
                )

    def test_every_request_of_the_server_has_a_verb(self) -> None:
        self.assertLessEqual(
            {"put", "get", "done", "config", "queues", *READING, *SHOWING, *CHANGING, *SINGLE},
            VERBS.keys(),
        )
        for verbs in OTHER_WORDS.values():
            self.assertLessEqual(set(verbs.split(" or ")), VERBS.keys())

    def test_version_is_that_of_the_package(self) -> None:
        self.assertRegex(self.good("--version"), r"^twisted_appserver [\d.]+, Twisted .*\n$")


class UsageTests(CommandCase):
    def test_unknown_verbs_and_options_are_one_line_with_the_closest_one(self) -> None:
        for words, advice in (
            (("pu", "q"), "unknown verb pu; did you mean put? See tqueue --help"),
            (("statz", "q"), "did you mean stats?"),
            (("retry", "q"), "did you mean release or kick?"),
            (("--ulr", "x"), "unknown option --ulr; did you mean --url?"),
            (("xyzzy",), "unknown verb xyzzy; see tqueue --help"),
            (("put", "q", "n=1", "--priorty", "5"), "unknown option --priorty; did you mean --priority?"),
            (("put", "q", "n=1", "--prio=5"), "unknown option --prio"),
            (("peek", "q", "--jsn"), "did you mean --json?"),
            (("put",), "tqueue put: the following arguments are required: NAME; see tqueue put --help"),
            (("get", "q", "more"), "unexpected argument 'more'"),
            (("get", "q", "--timeout", "soon"), "--timeout"),
            (("done", "q", "1-f:x"), "must be ID or ID:DELIVERY, not '1-f:x'"),
            (("done", "q", "1-f", "2-f", "--delivery", "1"), "write ID:DELIVERY for several"),
            (("qsize", "a/b"), "contain a slash"),
        ):
            self.assertIn(advice, self.bad(2, *words))

    def test_options_may_stand_anywhere(self) -> None:
        for words in (
            ("put", "q", "a=1", "--url", NOWHERE, "b=2"),
            ("put", "--url", NOWHERE, "q", "a=1"),
            ("--url", NOWHERE, "put", "q", "a=1"),
            (f"--url={NOWHERE}", "put", "q", "a=1"),
            ("put", NOWHERE, "q", "a=1"),
        ):
            err = self.bad(2, *words, "--patience", "0", TQUEUE_URL="http://other.invalid")
            self.assertIn(f"cannot reach {NOWHERE}", err)


class UnreachableTests(CommandCase):
    def test_message_has_the_url_and_what_to_start(self) -> None:
        err = self.bad(2, "qsize", "q", "--patience", "0")
        self.assertEqual(
            err,
            f"tqueue: cannot reach {NOWHERE}: connection refused; is TQueueSrv running? "
            "Start it with: twistd -n --pidfile= tqueuesrv --port 1\n",
        )

    def test_message_names_a_host_that_does_not_exist(self) -> None:
        err = self.bad(2, "qsize", "q", "--patience", "0", "--url", "http://me:secret@no-host.invalid/sub")
        self.assertIn("cannot reach http://no-host.invalid/sub: host not found", err)
        self.assertNotIn("secret", err)

    def test_wrong_url_names_where_it_is_from(self) -> None:
        self.assertIn("tqueue: --url: the url must be", self.bad(2, "qsize", "q", "--url", "localhost:8082"))
        self.assertIn("tqueue: TQUEUE_URL: the url must be", self.bad(2, "qsize", "q", TQUEUE_URL="x"))

    @slow
    def test_a_short_patience_shows_no_warning_besides_the_error(self) -> None:
        begin = time.monotonic()
        self.bad(2, "qsize", "q")
        self.assertGreater(time.monotonic() - begin, 1.0)  # it waits, because the server may be restarting

    @slow
    def test_warnings_are_shown_only_with_patience(self) -> None:
        status, _, err = self.tqueue("qsize", "q", "--patience", "4")
        self.assertEqual((status, err.count("\n")), (2, 2))
        self.assertIn(f"tqueue: {NOWHERE}/q/qsize is tried again until patience ends", err)

    def test_url_of_the_environment_is_also_that_of_queues(self) -> None:
        with patch.dict(os.environ, {"TQUEUE_URL": "http://queues.example:81/sub"}):
            self.assertEqual(Queue(name="q").url, "http://queues.example:81/sub")
        with patch.dict(os.environ):
            os.environ.pop("TQUEUE_URL", None)
            self.assertEqual(Queue(name="q").url, "http://127.0.0.1:8082")


class VerbTests(ServerCase):
    def test_tasks_are_put_got_and_finished(self) -> None:
        self.assertEqual(json.loads(self.good("put", "q", "n=1", "color=red"))["worker"], "q")
        got = json.loads(self.good("get", "q", "--lease", "9"))
        self.assertEqual((got["task"], got["delivery"]), ({"n": 1, "color": "red"}, 1))
        task = got["task_id"]
        for verb in ("extend", "renew"):
            self.assertEqual(json.loads(self.good(verb, "q", f"{task}:1", "--lease", "600"))["task_id"], task)
            (leased,) = self.queue.peek(state="leased")
            self.assertGreater(leased["lease"], time.time() + 300)
        self.good("release", "q", task, "--delay", "50")
        self.assertEqual(self.queue.stats()["delayed"], 1)
        self.put(2)
        task = json.loads(self.good("get", "q"))["task_id"]
        self.good("bury", "q", task)
        self.assertEqual(json.loads(self.good("kick", "q"))["kicked"], 1)
        self.good("get", "q")
        self.assertEqual(
            json.loads(self.good("done", "q", task)), {"worker": "q", "task_id": task, "task": {"n": 2}}
        )

    def test_a_task_that_is_not_leased_is_explained_with_status_1(self) -> None:
        (task,) = self.put(1)
        self.good("get", "q")
        for verb in ("done", "release", "bury", "extend", "renew"):
            for name in ("nonsense", f"{task}:7"):
                self.assertIn(
                    f"task {name.partition(':')[0]} of q is not leased", self.bad(1, verb, "q", name)
                )
        self.assertIn("in delivery 7", self.bad(1, "done", "q", task, "--delivery", "7"))
        status, out, err = self.tqueue("done", "q", "nonsense", task, "other")
        self.assertEqual((status, json.loads(out)["task_id"], err.count("is not leased")), (1, task, 2))

    def test_list_of_queues_counts_the_tasks_in_each_state(self) -> None:
        self.put(*range(5))
        self.good("get", "q", "-n", "4")
        self.queue.put_task({"n": 5}, delay=300)
        for task in self.queue.peek(state="leased")[:2]:
            self.queue.bury(task_id=task["task_id"])
        self.queue.put_task({"n": 6}, group="g")
        self.queue.put_task({"n": 7}, group="g")
        header, row = self.good("queues").splitlines()
        self.assertEqual(header.split(), ["QUEUE", "READY", "DELAYED", "LEASED", "HELD", "BURIED"])
        self.assertEqual(row.split(), ["q", "2", "1", "2", "1", "2"])
        counts = {"qsize": 2, "ready": 2, "delayed": 1, "leased": 2, "held": 1, "buried": 2}
        self.assertEqual(json.loads(self.good("queues", "--json")), {"q": counts})

    def test_peek_shows_progress_and_the_last_error(self) -> None:
        first, _ = self.put(1, 2)
        self.good("get", "q", "-n", "2")
        self.assertNotIn("PROGRESS", self.good("peek", "q", "--state", "leased"))
        self.queue.renew([(first, 1, "4 of 10")])  # type: ignore[list-item]
        header, row, other = self.good("peek", "q", "--state", "leased").splitlines()
        self.assertRegex(header, r"LEASE ENDS  PROGRESS  TASK$")
        self.assertRegex(row, r'  in \d+ s +4 of 10 +\{"n": 1\}$')
        self.assertRegex(other, r'  in \d+ s +\{"n": 2\}$')
        self.good("fail", "q", first, "--error", "no\ncolor", "--give-up")
        header, row = self.good("peek", "q", "--state", "buried").splitlines()
        self.assertRegex(header, r"PRIORITY  TASK +LAST ERROR$")
        self.assertRegex(row, r'\{"n": 1\} +no color$')

    def test_why_a_task_is_not_leased_is_its_state(self) -> None:
        self.good("config", "q", "keep=60")
        done, buried, ready, leased = self.put(1, 2, 3, 4)
        gone = self.put(5)[0]
        self.good("drop", "q", gone)
        self.queue.get_task(), self.queue.get_task()
        self.good("done", "q", done)
        self.good("bury", "q", buried)
        self.good("drop", "q", ready)
        self.queue.get_task()
        for task, why in (
            (done, "is not leased: it is done"),
            (buried, "is not leased: it is buried"),
            (gone, "is not leased: it is dropped"),
            (f"{leased}:7", "is not leased in delivery 7: it is leased in delivery 1"),
            ("nonsense", "is not leased: it has ended, or there never was such a task"),
        ):
            self.assertTrue(self.bad(1, "release", "q", task).endswith(f" {why}\n"), (task, why))

    def test_task_that_has_ended_without_a_result_is_shown_without_one(self) -> None:
        self.good("config", "q", "keep=60")
        dropped, done = self.put(1, 2)
        self.good("drop", "q", dropped)
        self.good("get", "q")
        self.good("done", "q", done)
        self.assertRegex(self.good("show", "q", dropped), r"state +dropped\n")
        self.assertNotIn("result", self.good("show", "q", dropped))
        self.assertRegex(self.good("show", "q", done), r"state +done\nresult +null\n")

    def test_results_are_stored_and_printed(self) -> None:
        self.good("config", "q", "keep=60")
        for typed, value in (('{"size": 7}', {"size": 7}), ("green", "green"), ("[1.5]", [1.5]), ("", None)):
            (task,) = self.put(1)
            self.assertIn(f"task {task} has no result: it is ready", self.bad(1, "result", "q", task))
            self.good("get", "q")
            self.good("done", "q", task, *(("--result", typed) if typed else ()))
            found = json.loads(self.good("result", "q", task, "--timeout", "5"))
            self.assertEqual(found, {"worker": "q", "task_id": task, "state": "done", "result": value})
        self.assertIn("there is no such task", self.bad(1, "result", "q", "nonsense"))

    def test_value_that_begins_like_json_but_is_none_is_refused(self) -> None:
        """A mistake in JSON would become text. Other values may be text."""
        (task,) = self.put(1)
        self.good("get", "q")
        for wrong in ("{square: 36}", "[1, 2", '"red', '{"a": NaN}'):
            err = self.bad(2, "done", "q", task, "--result", wrong)
            self.assertIn("--result begins like JSON, but is not JSON", err)
            self.assertIn(f"as a JSON string: {json.dumps(wrong)}", err)
            self.assertIn("the value of color begins like JSON", self.bad(2, "put", "q", f"color={wrong}"))
        self.assertEqual(self.queue.stats()["leased"], 1)
        self.good("done", "q", task, "--result", json.dumps("{square: 36}"))
        self.good("put", "q", "color=dark {red}", "n=")

    def test_failures_are_recorded_and_shown(self) -> None:
        (task,) = self.put(1)
        self.good("get", "q")
        failed = json.loads(self.good("fail", "q", task, "--error", "no color", "--retry", "0"))
        self.assertEqual(failed, {"worker": "q", "task_id": task, "retry": 0.0})
        self.good("get", "q")
        self.assertRegex(self.good("show", "q", task), r"(?m)^state +leased\n")
        self.assertIs(json.loads(self.good("fail", "q", task, "--give-up"))["retry"], False)
        out = self.good("show", "q", task)
        self.assertRegex(out, r"(?m)^NAME +VALUE\ntask_id +1-.*\nstate +buried\n")
        self.assertRegex(out, r"(?m)^attempt 1 by .*:\d+: failed after \d\.\d s\n    no color\nattempt 2 by ")
        self.assertEqual(len(json.loads(self.good("show", "q", task, "--json"))["attempts"]), 2)
        self.assertNotRegex(out, "(?m)^(due|lease|order) ")
        (later,) = (json.loads(self.good("put", "q", "n=2", "--delay", "50"))["task_id"],)
        self.assertRegex(self.good("show", "q", later), r"(?m)^due +\d{4}-\d\d-\d\d ")
        self.assertIn("there never was such a task", self.bad(1, "show", "q", "nonsense"))

    def test_put_sets_the_terms_of_a_task(self) -> None:
        self.good("put", "q", "n=1", "--ttl", "60", "--max-deliveries", "3", "--retry-first", "5")
        self.good("put", "q", "--batch", "2", "--ttl", "70", lines="n=2\nn=3\n")
        tasks = self.queue.peek()
        self.assertEqual([each["ttl"] for each in tasks], [60.0, 70.0, 70.0])
        self.assertEqual((tasks[0]["max_deliveries"], tasks[0]["retry_first"]), (3, 5.0))
        self.assertNotIn("retry_factor", tasks[0])
        self.assertIn("ttl must be more than 0", self.bad(2, "put", "q", "n=1", "--ttl", "0"))
        self.assertRegex(self.good("show", "q", tasks[0]["task_id"]), r"(?m)^ends +\d{4}-\d\d-\d\d ")

    def test_put_puts_into_a_group(self) -> None:
        first = json.loads(self.good("put", "q", "n=1", "--group", "customer 7"))["task_id"]
        self.good("put", "q", "--group", "customer 7", lines="n=2\nn=3\n")
        self.good("put", "q", "--batch", "2", "--group", "customer 7", lines="n=4\nn=5\n")
        self.assertRegex(self.good("show", "q", first), r"(?m)^group +customer 7$")
        self.assertEqual(len(self.good("peek", "q", "--state", "held", "--json").splitlines()), 4)
        self.good("get", "q")
        self.assertIn("(1 is leased, 4 are held)", self.bad(1, "get", "q"))
        self.assertRegex(self.good("config", "q", "at_once=2"), r"(?m)^at_once +2$")

    def test_stats_and_show_have_ages(self) -> None:
        self.assertRegex(self.good("stats", "q"), r"(?m)^oldest +-$")
        (task,) = self.put(1)
        self.assertRegex(self.good("stats", "q"), r"(?m)^oldest +\d+\.\d s$")
        self.assertRegex(self.good("show", "q", task), r"(?m)^put_at +\d{4}-\d\d-\d\d ")

    def test_lines_of_standard_input_are_tasks(self) -> None:
        out = self.good("put", "q", lines='{"n": 1}\n\nn=2\r\n  {"n": 3}\n')
        self.assertEqual(out.count("task_id"), 3)
        self.assertEqual([each["task"] for each in self.queue.peek()], [{"n": 1}, {"n": 2}, {"n": 3}])
        self.assertEqual(self.good("put", "q"), "")

    def test_a_wrong_line_is_named_with_the_number_of_tasks_before_it(self) -> None:
        for wrong in ("{", "[1]", "x", "n=\udcff"):
            err = self.bad(2, "put", "q", lines=f"n=1\n\n{wrong}\nn=2\n")
            self.assertIn("(line 3 of standard input; tasks put before it: 1)", err)
        self.queue.config(maxsize=self.queue.qsize())
        err = self.bad(1, "put", "q", lines="n=1\n")
        self.assertEqual(
            err, "tqueue: the queue q is full (line 1 of standard input; tasks put before it: 0)\n"
        )

    def test_line_with_several_fields_is_refused(self) -> None:
        """Its second field would silently become a part of the value of the first. Other text is not."""
        for options in ((), ("--batch", "2")):
            err = self.bad(2, "put", "q", *options, lines="width=7 height=2\n")
            self.assertIn('write several as a JSON object, as in {"width": 7, "height": 2}', err)
        self.good("put", "q", lines="text=one and two=\ntext=ls --color=auto x\n")
        self.assertEqual(
            [each["task"]["text"] for each in self.queue.peek()], ["one and two=", "ls --color=auto x"]
        )

    def test_lines_are_put_in_batches(self) -> None:
        out = self.good("put", "q", "--batch", "2", lines="n=1\n\nn=2\nn=3\n")
        self.assertEqual(out.count("task_id"), 3)
        self.assertEqual([each["task"]["n"] for each in self.queue.peek()], [1, 2, 3])
        for wrong, number, count in (("n=1\nn=2\nn=3\n{\n", 4, 3), ("n=1\nx\n", 2, 1), ("x\n", 1, 0)):
            before = self.queue.qsize()
            err = self.bad(2, "put", "q", "--batch", "2", lines=wrong)
            self.assertIn(f"(line {number} of standard input; tasks put before it: {count})", err)
            self.assertEqual(self.queue.qsize(), before + count)
        self.queue.config(maxsize=self.queue.qsize() + 2)
        err = self.bad(1, "put", "q", "--batch", "2", lines="n=1\nn=2\nn=3\nn=4\n")
        self.assertIn("the queue q is full (line 3 of standard input; tasks put before it: 2)", err)
        self.assertIn("--batch", self.bad(2, "put", "q", "--batch", "0", lines="n=1\n"))

    def test_many_tasks_are_got_at_once(self) -> None:
        ids = self.put(1, 2, 3)
        out = [json.loads(line) for line in self.good("get", "q", "-n", "2").splitlines()]
        self.assertEqual([each["task_id"] for each in out], ids[:2])
        self.assertEqual([each["delivery"] for each in out], [1, 1])
        self.assertEqual(self.good("get", "q", "-n", "9").count("task_id"), 1)
        self.assertIn("no task of the queue q is ready (3 are leased)", self.bad(1, "get", "q", "-n", "9"))

    def test_a_person_is_told_that_tasks_are_read(self) -> None:
        status, _, err = self.tqueue("put", "q", lines=Terminal("n=1\n"))
        self.assertEqual((status, err.count("\n")), (0, 1))
        self.assertIn("Ctrl-D ends", err)

    def test_verbs_print_tables_or_json(self) -> None:
        self.put(1, 2)
        self.assertEqual(json.loads(self.good("queues", "--json"))["q"]["qsize"], 2)
        self.assertRegex(
            self.good("stats", "q"), r"(?s)^NAME +VALUE\nready +2\n.*\nlease +60\n.*shutdown +-\n"
        )
        self.assertEqual(json.loads(self.good("stats", "q", "--json"))["puts"], 2)
        header, first, _ = self.good("peek", "q").splitlines()
        self.assertRegex(header, r"^ID +DELIVERIES +PRIORITY +TASK$")
        self.assertRegex(first, r'^1-\w+ +0 +0 +\{"n": 1\}$')
        lines = self.good("peek", "q", "--json", "-n", "1").splitlines()
        self.assertEqual([json.loads(line)["task"] for line in lines], [{"n": 1}])
        self.good("get", "q")
        self.assertRegex(self.good("peek", "q", "--state", "leased"), r"LEASE ENDS +TASK\n.* in \d\d s +\{")
        self.assertEqual(self.tqueue("peek", "q", "--state", "buried")[2], "tqueue: no task of q is buried\n")
        self.assertIn("ready 1, delayed 0", self.good("watch", "q", "--times", "1"))
        self.assertEqual(json.loads(self.good("watch", "q", "--times", "1", "--json"))["leased"], 1)

    def test_options_are_shown_and_set(self) -> None:
        self.assertEqual(
            json.loads(self.good("config", "q", "maxsize=7", "kind=lifo", "--json"))["maxsize"], 7
        )
        self.assertRegex(self.good("config", "q"), r"kind +lifo\nmaxsize +7\n")
        self.assertIn("no option max_size; did you mean maxsize?", self.bad(2, "config", "q", "max_size=1"))
        self.assertIn(
            "no option colour; its options are kind, maxsize", self.bad(2, "config", "q", "colour=red")
        )
        self.assertIn("lease must be a number, not 'x'", self.bad(2, "config", "q", "lease=x"))
        self.assertIn("name=value", self.bad(2, "config", "q", "maxsize"))

    def test_a_queue_is_joined_paused_shut_down_purged_and_deleted(self) -> None:
        self.put(1, 2)
        err = self.bad(1, "join", "q", "--timeout", "0")
        self.assertEqual(err, "tqueue: the queue q still has 2 unfinished tasks\n")
        names = [json.loads(line)["task_id"] for line in self.good("peek", "q", "--json").splitlines()]
        self.assertEqual(json.loads(self.good("drop", "q", names[0])), {"worker": "q", "task_id": names[0]})
        self.assertEqual(
            self.bad(1, "drop", "q", names[0]),
            f"tqueue: the queue q has no task {names[0]}; it may have ended\n",
        )
        self.good("bury", "q", names[1])
        joined = {"worker": "q", "unfinished": 0, "buried": 1}
        self.assertEqual(json.loads(self.good("join", "q")), joined)
        self.assertEqual(json.loads(self.good("kick", "q", names[1])), {"worker": "q", "task_id": names[1]})
        self.bad(1, "kick", "q", names[0])
        self.put(3)
        self.assertEqual(json.loads(self.good("pause", "q")), {"worker": "q", "paused": True})
        self.assertEqual(
            self.bad(1, "get", "q"), "tqueue: the queue q is paused; tqueue resume q ends the pause\n"
        )
        self.assertEqual(json.loads(self.good("resume", "q")), {"worker": "q", "paused": False})
        self.good("shutdown", "q")
        self.assertEqual(self.bad(1, "put", "q", "n=1"), "tqueue: the queue q is shut down\n")
        self.good("config", "q", "shutdown=")
        self.good("put", "q", "n=3")
        self.assertEqual(json.loads(self.good("purge", "q"))["purged"], 3)
        self.assertEqual(json.loads(self.good("join", "q")), joined | {"buried": 0})
        self.good("delete", "q")
        self.assertEqual(self.tqueue("queues")[2], "tqueue: the server has no queues\n")
        self.assertEqual(self.bad(1, "get", "q"), "tqueue: the queue q is empty\n")

    def test_a_get_says_where_the_tasks_are_that_are_not_ready(self) -> None:
        self.put(1, 2, 3)
        ids = [json.loads(self.good("get", "q"))["task_id"] for _ in range(3)]
        none = "tqueue: no task of the queue q is ready"
        self.assertEqual(self.bad(1, "get", "q"), f"{none} (3 are leased)\n")
        self.good("release", "q", ids[0], "--delay", "60")
        self.good("bury", "q", ids[1])
        self.assertEqual(self.bad(1, "get", "q"), f"{none} (1 is leased, 1 is delayed, 1 is buried)\n")


class RefusalTests(CommandCase):
    """Servers that answer differently from a TQueueSrv without options."""

    def start(self, *options: str) -> None:
        server = Server(options=options).start()
        self.addCleanup(server.kill)
        self.url = server.url

    def test_a_server_that_requires_a_token_is_explained(self) -> None:
        path = os.path.abspath(self.mktemp())
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write("a-long-enough-token")
        self.start("--token-file", path)
        self.assertIn(
            f"{self.url} requires authentication: the environment variable TQUEUE_TOKEN",
            self.bad(2, "qsize", "q"),
        )
        err = self.bad(2, "qsize", "q", TQUEUE_TOKEN="another-token")
        self.assertIn("it refuses this token", err)
        self.assertNotIn("another-token", err)
        self.assertEqual(self.good("qsize", "q", TQUEUE_TOKEN="a-long-enough-token"), "0\n")

    def test_another_server_is_recognized(self) -> None:
        self.start()
        err = self.bad(2, "qsize", "q", "--url", f"{self.url}/elsewhere/deep")
        self.assertIn(f"{self.url}/elsewhere/deep does not look like a TQueueSrv", err)


class OutputTests(ServerCase):
    """Standard output of a real process."""

    def start(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "twisted_appserver.tqueue.command", *words],
            env={**os.environ, "PYTHONPATH": ROOT, "TQUEUE_URL": self.url, **options.pop("environ", {})},
            stderr=subprocess.PIPE,
            **options,
        )

    def test_a_reader_that_goes_away_ends_the_command_quietly(self) -> None:
        self.put(1)
        reading, writing = os.pipe()
        os.close(reading)
        try:
            process = self.start("peek", "q", stdout=writing)
        finally:
            os.close(writing)
        _, err = process.communicate(timeout=20)
        self.assertEqual((process.returncode, err), (141, b""))

    def test_a_full_disk_is_one_line(self) -> None:
        with open("/dev/full", "wb") as full:
            process = self.start("qsize", "q", stdout=full)
            _, err = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 2)
        self.assertEqual(err, b"tqueue: cannot write to standard output: No space left on device\n")

    def test_text_that_the_terminal_cannot_show_is_escaped(self) -> None:
        self.queue.put_task({"a": "ü"})
        for words in (("peek", "q"), ("peek", "q", "--json")):
            process = self.start(*words, stdout=subprocess.PIPE, environ={"PYTHONIOENCODING": "ascii"})
            out, err = process.communicate(timeout=20)
            self.assertEqual((process.returncode, err), (0, b""))
            self.assertIn(rb"\u00fc" if "--json" in words else rb"\xfc", out)


class InterruptTests(CommandCase):
    def test_ctrl_c_while_modules_are_imported_is_quiet(self) -> None:
        with patch.dict(sys.modules):
            sys.modules.pop("twisted_appserver.tqueue.command.run_verb", None)
            with patch("builtins.__import__", side_effect=KeyboardInterrupt):
                self.assertEqual(main(("qsize", "q")), 130)
