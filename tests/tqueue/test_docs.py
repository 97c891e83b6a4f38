"""The commands, programs and figures of docs/tqueue.md are right."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.support.queue_server import ROOT, Server
from twisted_appserver import Router
from twisted_appserver.tqueue.client import Queue


class DocsTests(SynchronousTestCase):
    def setUp(self) -> None:
        with open(os.path.join(ROOT, "docs", "tqueue.md")) as file:
            self.text = file.read()

    def test_requests_with_curl_get_the_responses_of_the_page(self) -> None:
        if shutil.which("curl") is None:
            raise SkipTest("there is no curl")
        server = Server().start()
        self.addCleanup(server.kill)
        shown, real = "", ""
        steps = re.findall(r"^\$ (curl .*)\n(.*)$", self.text, re.MULTILINE)
        self.assertEqual(len(steps), 5)
        for command, expected in steps:
            words = command.replace("localhost:8082", f"localhost:{server.port}").replace(
                shown, real or shown
            )
            answer = subprocess.run(words.split(), capture_output=True, text=True, timeout=20).stdout
            if not shown:
                shown, real = (re.findall(r'"task_id":"(.*?)"', text)[0] for text in (expected, answer))
            self.assertEqual(answer, expected.replace(shown, real), command)

    def test_python_examples_of_the_page_run(self) -> None:
        """The first example, results, and the table for an application of one's own."""
        server = Server().start()
        self.addCleanup(server.kill)
        blocks = re.findall(r"```python\n(.*?)```", self.text, re.DOTALL)
        exec(blocks[0].replace("http://localhost:8082", server.url), names := {})
        self.assertEqual((names["task"], names["queue"].unfinished_tasks), ({"picture": 7}, 0))
        exec(blocks[2], names)
        self.assertEqual(names["size"], 49)
        names["queue"]._session.tasks.drop_all()
        names["queue"]._pool.close()
        exec(blocks[3], names)
        handler, groups = Router(names["url_patterns"]).match("POST", "/queues/painter/put/")
        self.assertEqual((handler.function.__name__, groups), ("put", {"worker": "painter"}))

    def test_page_has_the_defaults_of_the_options(self) -> None:
        server = Server().start()
        self.addCleanup(server.kill)
        queue = Queue(0, server.url, "q")
        self.addCleanup(queue._pool.close)
        for name, value in queue.config().items():
            if name in ("lease", "max_deliveries", "remember"):
                self.assertRegex(self.text, rf"`{name}`\s\({value:.0f}\b")
