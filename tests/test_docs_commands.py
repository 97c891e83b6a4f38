"""Every command in the documentation works as it stands there."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path
from typing import Any

from selenium.webdriver.common.by import By
from twisted.internet.threads import deferToThread

from tests.admin.test_browser import BrowserTestCase, text
from tests.support.page_checks import wait
from tests.support.pages import DOCS, blocks, commands
from tests.support.postgres import needs_postgresql, shared
from tests.support.programs import Program, ProgramTestCase
from tests.support.slow import slow
from twisted_appserver.tqueue.client import Queue

GUIDE, QUEUES, OPERATIONS = DOCS / "guide", DOCS / "queues", DOCS / "operations"
FIRST = GUIDE / "first-service.md"
REFUSED = "const [url, done] = arguments; fetch(url).then(() => done('answered'), error => done(`${error}`));"
EVENTS = """
const [token, done] = arguments, lines = [], console = {log: line => lines.push(line)};
const source = new EventSource("/countdown/?n=5");
(async () => {
EXAMPLE
})().then(() => setTimeout(() => done([lines, source.readyState]), 200));
"""
SHOWN = "1-6f1ed002ab559585"  # the id of a task in the page about queues


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class CommandCase(ProgramTestCase):
    """Runs commands in a folder of their own, with ports that are free."""

    def setUp(self) -> None:
        super().setUp()
        self.ports: dict[str, int] = {}
        self.port = self.ports["8080"] = self.ports["8082"] = free_port()
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environ = {"PATH": path, "APPSERVER_PORT": str(self.port), "TQUEUESRV_PORT": str(self.port)}

    def section(self, page: Path, title: str = "") -> list[str]:
        """Return the commands of a page, or of one of its sections."""
        found = [
            command for section, command in commands(page, ("sh", "text")) if section == title or not title
        ]
        self.assertTrue(found, page)
        return found

    def shell(self, command: str) -> Program:
        """Start a command."""
        text = self.with_ports(command).replace("/var/lib", str(self.folder))
        return self.start("/bin/bash", "-c", f"exec {text}" if text[0] != "(" else text, **self.environ)

    def with_ports(self, text: str) -> str:
        """Replace the ports in a text."""
        return re.sub(r"\b80\d\d\b", lambda port: str(self.ports.setdefault(port[0], free_port())), text)

    async def good(self, command: str) -> str:
        """Run a command, which must succeed. Return what it prints."""
        program = self.shell(command)
        self.assertEqual(await program.ended, 0, f"{command}\n{program.output}")
        return program.out

    async def serve(self, command: str) -> Program:
        """Start a server, and wait until it listens."""
        program = self.shell(command.removesuffix("&"))
        await program.url()
        return program

    def save(self, name: str, page: Path, text: str) -> None:
        """Save the program that contains a text."""
        (self.folder / name).write_text(next(each for each in blocks(page, "python") if text in each))


@slow
class GuideTests(CommandCase):
    async def test_each_runner_runs_the_test(self) -> None:
        self.save("test_shop.py", GUIDE / "testing.md", "def test_double")
        found = self.section(GUIDE / "testing.md")
        self.assertEqual(len(found), 3)
        for command in found:
            program = self.shell(command)
            self.assertEqual(await program.ended, 0, program.output)
            self.assertRegex(program.output, "Ran 1 test|1 passed", command)

    async def test_files_are_uploaded(self) -> None:
        """In a form, and as a whole body."""
        for name in ("sunset.jpg", "beach.jpg", "photo.jpg"):
            (self.folder / name).write_bytes(b"\xff\xd8")
        whole = re.findall(r"`(curl --data-binary [^`]+)`", (GUIDE / "file-uploads.md").read_text())
        for part, found, expected in (
            ("add_photo", self.section(GUIDE / "file-uploads.md"), '"more":["beach.jpg"]'),
            ("def upload", whole, '"bytes":2'),
        ):
            self.save("photos.py", GUIDE / "file-uploads.md", part)
            server = await self.serve("appserver photos.py")
            self.assertEqual(len(found), 1)
            self.assertIn(expected, await self.good(found[0]))
            await server.stop()

    async def test_servers_start(self) -> None:
        for name in ("shop.py", "app.py"):
            self.save(name, FIRST, "PRICES = ")
        for command in self.section(OPERATIONS / "options.md"):
            await (await self.serve(command)).stop()

    async def test_token_is_accepted(self) -> None:
        """And so is a password, for the pages."""
        make, server, request = self.section(GUIDE / "authentication.md")
        await self.good(make)
        running = await self.serve(server)
        self.assertEqual(await self.good(request), '{"object_type":"person","object_id":"123"}')
        await running.stop()
        make, server, password = self.section(OPERATIONS / "pages.md")
        await self.good(make)
        await self.serve(server)
        for command in (password, request, password.replace("health", "docs")):
            self.assertNotIn('"status":401', await self.good(command))


@slow
class BrowserTests(CommandCase, BrowserTestCase):
    async def test_page_of_another_origin_calls_the_service(self) -> None:
        """As far as its origin is named. With a token, it reads events by C{fetch}."""
        self.save("shop.py", FIRST, "PRICES = ")
        (page,) = blocks(GUIDE / "cors.md", "html")
        (self.folder / "page.html").write_text(self.with_ports(page))
        server, pages = self.section(GUIDE / "cors.md")
        await self.serve(server)
        await self.shell(pages.removesuffix("&")).line("Serving HTTP")
        port = self.ports["8000"]

        def looks(browser: Any) -> str:
            browser.get(f"http://localhost:{port}/page.html")
            wait(browser, lambda _: browser.find_element(By.TAG_NAME, "button").click() or True)
            wait(browser, lambda _: '"price":0.15' in text(browser, "pre"))
            browser.get(f"http://127.0.0.1:{port}/page.html")
            return str(browser.execute_async_script(REFUSED, f"http://localhost:{self.port}/price/bolt/"))

        self.assertIn("Failed to fetch", await self.look(looks))
        (reason,) = re.findall(r"`(curl -i -H 'Origin: [^`]+)`", (GUIDE / "cors.md").read_text())
        self.assertIn("403", await self.good(reason))

    async def test_page_reads_events_with_a_token(self) -> None:
        """By C{fetch}. An C{EventSource} gives up."""
        (self.folder / "app.py").write_text(
            next(each for each in blocks(GUIDE / "streaming.md", "python") if "def countdown" in each)
            + "url_patterns = ((r'/countdown/', countdown),)\n"
        )
        make, *_ = self.section(GUIDE / "authentication.md")
        await self.good(make)
        await self.serve("appserver --token-file token --allow-origin http://localhost:8000")
        (self.folder / "page.html").write_text("<p>A page</p>")
        _, pages = self.section(GUIDE / "cors.md")
        await self.shell(pages.removesuffix("&")).line("Serving HTTP")
        (example,) = blocks(GUIDE / "server-sent-events.md", "js")
        script = EVENTS.replace("EXAMPLE", example)
        script = script.replace('"/countdown', f'"http://localhost:{self.port}/countdown')
        token = (self.folder / "token").read_text().strip()

        def looks(browser: Any) -> Any:
            browser.get(f"http://localhost:{self.ports['8000']}/page.html")
            return browser.execute_async_script(script, token)

        lines, state = await self.look(looks)
        self.assertEqual("".join(lines).count('data: {"number":'), 5)
        self.assertEqual(state, 2)


@slow
class QueueTests(CommandCase):
    async def begin(self) -> Queue:
        """Start a server. Return a queue with a task that this test has leased."""
        await self.serve("twistd -n --pidfile= tqueuesrv")
        self.environ["TQUEUE_URL"] = f"http://127.0.0.1:{self.port}"
        (self.folder / "studio.py").write_text("def paint(picture):\n    print('painted')\n")
        queue = Queue(0, self.environ["TQUEUE_URL"], "painter")
        self.addCleanup(queue._pool.close)
        queue.put_task({"picture": 7})
        return queue

    async def work(self, command: str) -> None:
        worker = self.shell(command)
        await worker.line("painted")
        worker.signal("TERM")
        self.assertEqual(await worker.ended, 0, worker.output)

    async def test_servers_start(self) -> None:
        for command in self.section(QUEUES / "tqueuesrv.md"):
            await (await self.serve(command)).stop()

    @needs_postgresql
    async def test_servers_start_over_postgresql(self) -> None:
        """The installation is that of the other pages."""
        url = await deferToThread(lambda: shared().database())
        for page, title in (("postgresql", "PostgreSQL"), ("django-tasks", "Your own transaction")):
            (command,) = (each for each in self.section(QUEUES / f"{page}.md", title) if "pip" not in each)
            command = command.replace("postgresql://user@host/database", url)
            self.assertIn(url, command)
            await (await self.serve(command)).stop()

    async def test_verbs_work(self) -> None:
        await self.begin()
        names = ("command", "task-options", "groups", "unique-keys", "rates", "traces")
        for command in (each for name in names for each in self.section(QUEUES / f"{name}.md")):
            if command.startswith("tqueue work"):
                await self.work(command)
            elif command.startswith("export TQUEUE_URL="):
                self.environ["TQUEUE_URL"] = command.partition("=")[2].replace("8082", str(self.port))
            else:
                await self.good(command)

    async def test_workers_start(self) -> None:
        queue = await self.begin()
        for command in self.section(QUEUES / "workers.md", "Workers"):
            await self.work(command)
            queue.put_task({"picture": 8})

    async def test_tasks_are_finished(self) -> None:
        """They are leased again before each command that names one, unless they have ended."""
        queue = await self.begin()
        for name in ("failures", "results"):
            for command in self.section(QUEUES / f"{name}.md"):
                if SHOWN in command:
                    command = command.replace(SHOWN, self.leased(queue))
                answer = await self.good(command)
                self.assertNotIn('"status":4', answer, command)
                self.assertNotIn('"task_id":""', answer, command)

    def leased(self, queue: Queue) -> str:
        """Lease the task of the queue, unless it has ended. Return its id."""
        self.task_id: str = getattr(self, "task_id", "") or queue.peek()[0]["task_id"]
        if queue.show(self.task_id)["state"] in ("ready", "delayed", "buried"):
            queue.kick_task(self.task_id)
            queue.get_task()
        return self.task_id
