"""The commands, programs and figures of docs/queues are right."""

from __future__ import annotations

import re
import shutil
import subprocess
from types import SimpleNamespace

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.support.pages import DOCS, blocks
from tests.support.queue_server import Server
from twisted_appserver import GiveUp, Router
from twisted_appserver.tqueue.client import Queue
from twisted_appserver.tqueue.client.async_queue import AsyncQueue
from twisted_appserver.tqueue.client.batch_verbs import BatchVerbs
from twisted_appserver.tqueue.client.verbs import QueueVerbs


class DocsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.text = "\n".join(page.read_text() for page in sorted((DOCS / "queues").glob("*.md")))

    def example(self, name: str, text: str = "") -> str:
        """Return the first example in Python of a page that contains a text."""
        return next(each for each in blocks(DOCS / "queues" / f"{name}.md", "python") if text in each)

    def test_requests_with_curl(self) -> None:
        """Each gets the response of the page."""
        if shutil.which("curl") is None:
            raise SkipTest("there is no curl")
        server = Server().start()
        self.addCleanup(server.kill)
        shown, real = "", ""
        steps = re.findall(r"^\$ (curl .*)\n(.*)$", (DOCS / "queues" / "http.md").read_text(), re.MULTILINE)
        self.assertEqual(len(steps), 5)
        for command, expected in steps:
            words = command.replace("localhost:8082", f"localhost:{server.port}").replace(
                shown, real or shown
            )
            answer = subprocess.run(words.split(), capture_output=True, text=True, timeout=20).stdout
            if not shown:
                shown, real = (re.findall(r'"task_id":"(.*?)"', text)[0] for text in (expected, answer))
            self.assertEqual(answer, expected.replace(shown, real), command)

    def test_python_examples_run(self) -> None:
        """The first example of each page: clients, results, decisions, workers and mounted queues."""
        server = Server().start()
        self.addCleanup(server.kill)
        exec(self.example("python").replace("http://localhost:8082", server.url), names := {})
        self.assertEqual((names["task"], names["queue"].unfinished_tasks), ({"picture": 7}, 0))
        exec(self.example("results"), names)
        self.assertEqual(names["size"], 49)
        exec(self.example("failures"), names)
        names["printer"], names["customers"] = SimpleNamespace(ready=lambda: True), ()
        self.assertRaises(GiveUp, names["send"], {"customer": 1})
        names["queue"].shutdown()  # so that the worker returns
        exec(self.example("workers").replace("http://localhost:8082", server.url), {"__name__": "__main__"})
        names["queue"]._session.tasks.drop_all()
        names["queue"]._pool.close()
        exec(self.example("embedding"), names)
        handler, groups = Router(names["url_patterns"]).match("POST", "/queues/painter/put/")
        self.assertEqual((handler.function.__name__, groups), ("put", {"worker": "painter"}))

    def test_python_examples_of_puts_run(self) -> None:
        """With the options that a put can have, one after another, and many tasks at once."""
        server = Server().start()
        self.addCleanup(server.kill)
        queue = Queue(0, server.url, "painter")
        self.addCleanup(queue._pool.close)
        said: list[str] = []
        pictures = [{"picture": number} for number in range(3)]
        names = {"queue": queue, "pictures": pictures, "print": said.append, "paint_all": list}
        for name in ("groups", "unique-keys", "unique-keys", "task-options"):
            exec(self.example(name), names)
        exec(self.example("python", "put_many"), names)
        self.assertEqual((len(names["pictures"]), said), (100, ["this picture is being painted already"]))

    def test_pages_name_every_method(self) -> None:
        for name in vars(AsyncQueue) | vars(Queue) | vars(QueueVerbs) | vars(BatchVerbs):
            if not name.startswith("_") and name != "forked":
                self.assertTrue(re.search(rf"\b{name}\b", self.text), name)

    def test_pages_have_the_defaults_of_the_options(self) -> None:
        server = Server().start()
        self.addCleanup(server.kill)
        queue = Queue(0, server.url, "q")
        self.addCleanup(queue._pool.close)
        for name, value in queue.config().items():
            if name in ("lease", "max_deliveries", "remember", "retry_first", "retry_factor", "retry_most"):
                self.assertRegex(self.text, rf"`{name}`\s\({value:.0f}\b")
