"""The service that docs/coming-from.md shows with four queues works with each of them."""

from __future__ import annotations

import json
import re
import shutil
from importlib.util import find_spec
from time import monotonic
from typing import Any, ClassVar

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.support.mail_server import MailServer
from tests.support.programs import ROOT, Program
from tests.support.slow import slow
from tests.test_docs_commands import CommandCase, free_port

PAGE = ROOT / "docs" / "coming-from.md"
TITLES = ("Celery and Redis", "RQ and Redis", "Huey and SQLite", "twisted_appserver and SQLite")
PACKAGES = {"celery": "celery", "rq": "rq", "huey": "huey", "flask": "Flask", "redis": "redis"}
ADDRESS = r"(?:Running on |listening on )?(http://[\w.]+:\d+)"
LONG = 45  # seconds until a message must have been sent or given up


def part(title: str) -> str:
    """Return the part of the page below a heading."""
    found = re.search(rf"(?ms)^##+ {re.escape(title)}$(.*?)(?=^##|\Z)", PAGE.read_text())
    assert found is not None, title
    return found[1]


def code(title: str) -> str:
    """Return the program of a part of the page."""
    (block,) = re.findall(r"(?ms)^```py\n(.*?)^```$", part(title))
    return str(block)


class TableTests(SynchronousTestCase):
    """The table that compares the four programs."""

    def row(self, name: str) -> list[str]:
        found = re.search(
            rf"(?m)^\| {re.escape(name)} \| (.+) \|$", part("The same service with four queues")
        )
        assert found is not None, name
        return found[1].split(" | ")

    def test_lines_are_those_of_the_programs(self) -> None:
        counted = [str(sum(1 for line in code(title).splitlines() if line.strip())) for title in TITLES]
        self.assertEqual(self.row("lines of `shop.py`, without empty ones"), counted)

    def test_processes_are_those_of_the_commands(self) -> None:
        for title, cell in zip(TITLES, self.row("processes to run"), strict=True):
            (block,) = re.findall(r"(?ms)^```sh\n(.*?)^```$", part(title))
            self.assertEqual(int(cell.partition(":")[0]), len(block.splitlines()), title)


class ServiceCase(CommandCase):
    """Runs the commands of a section, orders twice, and reads what has become of the e-mails."""

    title = ""
    needs: ClassVar[tuple[str, ...]] = ()
    timeout = 120

    def setUp(self) -> None:
        for name in self.needs:
            if name == "redis-server":
                if shutil.which(name) is None:
                    raise SkipTest("redis-server is not installed")
            elif find_spec(name) is None:
                raise SkipTest(f"{PACKAGES[name]} is not installed: pip install '.[works-with]'")
        super().setUp()
        self.programs: list[Program] = []
        (self.folder / "mail.py").write_text(code("The same service with four queues"))
        (self.folder / "shop.py").write_text(self.with_ports(code(self.title)))

    def with_ports(self, text: str) -> str:
        self.ports.setdefault("6379", free_port())
        return super().with_ports(text).replace("6379", str(self.ports["6379"]))

    async def serve_all(self, mail: MailServer) -> str:
        """Start the commands of the section. Return the address of the web server."""
        listening = reactor.listenTCP(0, mail, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(listening.stopListening)
        self.environ["SMTP"] = f"127.0.0.1:{listening.getHost().port}"
        for command in self.section(PAGE, self.title):
            program = self.shell(command)
            self.programs.append(program)
            self.addCleanup(program.kill_all)
            if command.startswith("redis-server"):
                await program.line("Ready to accept connections")
        return (await program.line(ADDRESS))[1]

    async def json(self, method: str, url: str, **content: str) -> Any:
        body = json.dumps(content).encode() if content else None
        headers = {"Content-Type": "application/json"}
        response = await self.http.request(method, url, data=body, headers=headers, timeout=30)
        text = await response.content()
        self.assertIn(response.code, (200, 202), text)
        return json.loads(text)

    async def ended(self, url: str, *states: str) -> Any:
        """Wait until an e-mail has one of these states, and return its document."""
        until = monotonic() + LONG
        while (document := await self.json("GET", url))["state"] not in states:
            self.assertLess(monotonic(), until, document)
            await deferLater(reactor, 0.1)  # type: ignore[arg-type]
        return document

    async def check_service(self, done: str, failed: str, place: str = "/orders") -> None:
        """
        One e-mail is sent at the second attempt, another one is refused three times.

        @param done: the state of an e-mail that was sent.
        @param failed: the state of one that was given up.
        @param place: the path of the states.
        """
        mail = MailServer(ada=1, bob=9)
        url = await self.serve_all(mail)
        found = {}
        for customer in ("ada@example.org", "bob@example.org"):
            answer = await self.json("POST", f"{url}/orders", customer=customer, item="bolt")
            found[customer] = f"{url}{place}/{answer['id']}"
        good, bad = [await self.ended(each, done, failed) for each in found.values()]
        self.assertEqual((good["state"], good["result"]), (done, {"sent": "ada@example.org"}))
        self.assertEqual(bad["state"], failed)
        self.assertIn("try again later", json.dumps(bad))
        self.assertEqual(mail.attempts, {"ada@example.org": 2, "bob@example.org": 3})
        for program in reversed(self.programs):
            await program.stop()


@slow
class CeleryTests(ServiceCase):
    title = "Celery and Redis"
    needs = ("redis-server", "celery", "redis", "flask")

    async def test_service_works(self) -> None:
        await self.check_service("SUCCESS", "FAILURE")


@slow
class RqTests(ServiceCase):
    title = "RQ and Redis"
    needs = ("redis-server", "rq", "flask")

    async def test_service_works(self) -> None:
        await self.check_service("finished", "failed")


@slow
class HueyTests(ServiceCase):
    title = "Huey and SQLite"
    needs = ("huey", "flask")

    async def test_service_works(self) -> None:
        await self.check_service("done", "failed")


@slow
class AppserverTests(ServiceCase):
    title = "twisted_appserver and SQLite"

    async def test_service_works(self) -> None:
        await self.check_service("done", "failed", "/-/jobs")
