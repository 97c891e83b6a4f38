"""Every example works as its user would run it: as a process, over a socket."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any
from unittest import skipUnless

from twisted.internet.defer import Deferred, gatherResults

from tests.support.programs import PERSON, ROOT, ProgramTestCase
from tests.support.slow import slow
from twisted_appserver.client import AppClient, Problem

EXAMPLES = ROOT / "examples"
TWISTD = [
    sys.executable,
    "-c",
    "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()",
    "--nodaemon",
    "--pidfile=",
    "appserver",
    "--port=0",
]


class ExampleTestCase(ProgramTestCase):
    """Runs programs, and calls them with the client of this package."""

    def client(self, url: str) -> AppClient:
        return AppClient(url, self.http, timeout=30)

    async def refused(self, status: int, *arguments: Any, **variables: Any) -> str:
        """Return the detail of the problem with which the service refuses a call."""
        client, path = arguments
        with self.assertRaises(Problem) as raised:
            await client.call(path, **variables)
        self.assertEqual(raised.exception.status, status)
        return raised.exception.detail


class ArticleTests(ExampleTestCase):
    """examples/article.py, outside of the repository."""

    async def check_script(self, server_type: str) -> None:
        text = (EXAMPLES / "article.py").read_text()
        for old, new in (("port=8081", "port=0"), ("THREADED_SERVER", server_type)):
            self.assertEqual(text.count(old), 1)
            text = text.replace(old, new)
        (self.folder / "script.py").write_text(text)
        program = self.start(sys.executable, "script.py")
        self.assertEqual(await self.get(await program.url() + "/person/get/123/"), PERSON)
        await program.stop()

    async def check_twistd(self, server_type: str) -> None:
        (self.folder / "script.py").write_bytes((EXAMPLES / "article.py").read_bytes())
        program = self.start(*TWISTD, "--app=script.py", f"--type={server_type}")
        self.assertEqual(await self.get(await program.url() + "/person/get/123/"), PERSON)
        await program.stop()

    async def test_article_runs_as_a_script_in_threads(self) -> None:
        await self.check_script("THREADED_SERVER")

    async def test_article_runs_as_a_script_in_worker_processes(self) -> None:
        await self.check_script("FORKED_SERVER")

    async def test_article_runs_under_twistd_in_threads(self) -> None:
        await self.check_twistd("threaded")

    async def test_article_runs_under_twistd_in_worker_processes(self) -> None:
        await self.check_twistd("forked")


class InventoryTests(ExampleTestCase):
    """examples/inventory.py keeps its state consistent, wherever its functions run."""

    async def check(self, *command: str) -> None:
        program = self.start(*command, INVENTORY=str(self.folder / "inventory.sqlite"))
        url = await program.url()
        client = self.client(url)
        self.assertEqual(await client.call("/items/"), {"items": []})
        await self.check_stock(url, client)
        await self.check_errors(client)
        await self.check_race(client)
        await program.stop()
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["inventory.sqlite"])

    async def check_stock(self, url: str, client: AppClient) -> None:
        """Check that items which a form adds are returned as JSON."""
        bolt = {"sku": "bolt", "quantity": 20, "price": 0.15}
        for status, quantity in ((201, 20), (200, 40)):
            form = {"quantity": "20", "price": "0.15"}
            response = await self.http.post(f"{url}/items/bolt/put/", data=form, timeout=30)
            self.assertEqual(await response.json(), {**bolt, "quantity": quantity})
            self.assertEqual(response.code, status)
        left = {**bolt, "quantity": 17}
        self.assertEqual(await client.call("/items/bolt/take/", quantity=23), left)
        self.assertEqual(await client.call("/items/bolt/"), left)
        self.assertEqual(await client.call("/items/?below=18"), {"items": [left]})
        self.assertEqual(await client.call("/items/?below=17"), {"items": []})

    async def check_errors(self, client: AppClient) -> None:
        """Check that impossible requests are refused and change nothing."""
        self.assertIn("'nut'", await self.refused(404, client, "/items/nut/"))
        self.assertIn("'nut'", await self.refused(404, client, "/items/nut/take/", quantity=1))
        self.assertIn("17", await self.refused(409, client, "/items/bolt/take/", quantity=18))
        for wrong in ("x", 0, 1.5, None):
            detail = await self.refused(422, client, "/items/bolt/put/", quantity=wrong)
            self.assertTrue(detail.startswith("quantity "), detail)
        self.assertIn("quantity", await self.refused(422, client, "/items/bolt/put/", price=1))
        await self.refused(405, client, "/items/bolt/take/")
        self.assertEqual((await client.call("/items/bolt/"))["quantity"], 17)

    async def check_race(self, client: AppClient) -> None:
        """Check that exactly 17 of 24 concurrent clients get one of 17 items."""

        async def take() -> int:
            try:
                await client.call("/items/bolt/take/", quantity=1)
            except Problem as problem:
                return problem.status
            return 200

        answers = await gatherResults([Deferred.fromCoroutine(take()) for _ in range(24)])
        self.assertEqual(sorted(answers), [200] * 17 + [409] * 7)

    async def test_inventory_is_consistent_in_threads(self) -> None:
        await self.check(sys.executable, str(EXAMPLES / "inventory.py"), "--port=0", "--type=threaded")

    @slow
    async def test_inventory_is_consistent_in_worker_processes(self) -> None:
        await self.check(sys.executable, str(EXAMPLES / "inventory.py"), "--port=0", "--type=forked")

    async def test_inventory_is_consistent_under_twistd_in_threads(self) -> None:
        await self.check(*TWISTD, f"--app={EXAMPLES / 'inventory.py'}", "--type=threaded")

    @slow
    async def test_inventory_is_consistent_under_twistd_in_worker_processes(self) -> None:
        await self.check(*TWISTD, f"--app={EXAMPLES / 'inventory.py'}", "--type=forked")


class MiddlewareTests(ExampleTestCase):
    """examples/middleware.py: decorators around all functions below a prefix."""

    async def check(self, server_type: str) -> None:
        passwords = self.folder / "passwords"
        passwords.write_text("alice:secret\nbob:secret\n")
        passwords.chmod(0o600)
        program = self.start(
            *TWISTD, f"--app={EXAMPLES / 'middleware.py'}", "--auth=file:passwords", f"--type={server_type}"
        )
        url = await program.url()

        async def ask(user: str, path: str, **more: Any) -> tuple[int, str]:
            response = await self.http.request("GET", url + path, auth=(user, "secret"), timeout=30, **more)
            return response.code, await response.text()

        self.assertEqual(await ask("bob", "/stock/bolt"), (200, '{"name":"bolt","pieces":17}'))
        self.assertIn(
            (404, True), [(code, "anvil" in text) for code, text in [await ask("bob", "/stock/anvil")]]
        )
        code, text = await ask("bob", "/internal/bolt?pieces=5")
        self.assertEqual((code, "bob may not call change" in text), (403, True))
        self.assertEqual(await ask("alice", "/internal/bolt?pieces=5"), (200, '{"name":"bolt","pieces":22}'))
        self.assertEqual((await ask("alice", "/internal/anvil?pieces=5"))[0], 404)
        self.assertEqual(await ask("bob", "/count/3"), (200, '{"number":1}\n{"number":2}\n{"number":3}\n'))
        await program.line(r"GET /internal/anvil took [\d.]+ s for alice")
        self.assertGreater(float((await program.line(r"GET /count/3 took ([\d.]+) s for bob"))[1]), 0.3)
        await program.stop()

    async def test_middleware_times_checks_and_maps_errors_in_threads(self) -> None:
        """It times calls, checks users, and turns exceptions into responses."""
        await self.check("threaded")

    @slow
    async def test_middleware_times_checks_and_maps_errors_in_workers(self) -> None:
        await self.check("forked")


class DatabaseTests(ExampleTestCase):
    """examples/database.py: a pool that is opened at startup and closed at shutdown."""

    async def check(self, server_type: str, processes: int) -> None:
        program = self.start(
            *TWISTD, f"--app={EXAMPLES / 'database.py'}", f"--type={server_type}", "--workers=2",
            VISITS=str(self.folder / "visits.sqlite"),
        )  # fmt: skip
        client = self.client(await program.url())
        counts = await gatherResults(
            [Deferred.fromCoroutine(client.call("/visits/", page="home")) for _ in range(20)]
        )
        self.assertEqual(sorted(each["times"] for each in counts), list(range(1, 21)))
        response = await self.http.get(f"{await program.url()}/visits/", timeout=30)
        self.assertEqual(await response.json(), {"visits": {"home": 20}})
        while program.output.count("opened 4 connections") < processes:
            await program.line(rf"(?s)(?:opened 4.*){{{processes}}}")
        await program.stop()
        self.assertEqual(program.output.count("closed 4 connections"), processes)

    async def test_pool_in_threads_is_opened_and_closed_once(self) -> None:
        await self.check("threaded", 1)

    @slow
    async def test_pool_is_opened_and_closed_in_each_worker_process(self) -> None:
        await self.check("forked", 2)


@skipUnless(find_spec("django"), "Django is not installed")
class DjangoTests(ExampleTestCase):
    """examples/with_django.py: close_old_connections() around each call."""

    async def check(self, server_type: str) -> None:
        program = self.start(
            *TWISTD, f"--app={EXAMPLES / 'with_django.py'}", f"--type={server_type}", "--workers=2",
            NOTES=str(self.folder / "notes.sqlite"),
        )  # fmt: skip
        url = await program.url()
        client = self.client(url)
        added = [await client.call("/notes/", text=text) for text in ("milk", "bread")]
        self.assertEqual([each["id"] for each in added], [1, 2])
        response = await self.http.get(f"{url}/notes/", timeout=30)
        self.assertEqual(await response.json(), {"notes": ["milk", "bread"]})
        await program.stop()

    async def test_django_in_threads(self) -> None:
        await self.check("threaded")

    @slow
    async def test_django_in_worker_processes(self) -> None:
        await self.check("forked")


class MountedTests(ExampleTestCase):
    """An application below a path of another one, which still works."""

    async def check(self, name: str, home: bytes) -> None:
        program = self.start(sys.executable, str(EXAMPLES / name), "0")
        url = await program.url()
        self.assertEqual(await self.get(f"{url}/"), home)
        self.assertEqual(await self.get(f"{url}/api/person/get/123/"), PERSON)
        self.assertIn("/person/", await self.refused(404, self.client(url), "/api/person/"))
        response = await self.http.get(f"{url}/person/get/123/", timeout=30)
        await response.content()
        self.assertEqual(response.code, 404)
        await program.stop()

    async def test_application_works_below_a_path_of_a_site(self) -> None:
        """examples/mounted.py"""
        await self.check("mounted.py", b"The site that was there before.\n")

    async def test_application_works_below_a_path_of_klein(self) -> None:
        """examples/in_klein.py"""
        await self.check("in_klein.py", b"A page of the Klein application.\n")


class CallingTests(ExampleTestCase):
    """examples/calling.py, against examples/article.py."""

    async def test_client_prints_responses_in_order_and_an_error(self) -> None:
        server = self.start(*TWISTD, f"--app={EXAMPLES / 'article.py'}")
        caller = self.start(sys.executable, str(EXAMPLES / "calling.py"), await server.url())
        self.assertEqual(await caller.ended, 0, caller.output)
        numbers = [{"object_type": "person", "object_id": str(number)} for number in range(3)]
        person = {"object_type": "person", "object_id": "123"}
        expected = f"{person}\n{numbers}\n404: no pattern matches /nothing/here/\n"
        self.assertEqual(caller.output, expected)
        await server.stop()


class MixedTests(ExampleTestCase):
    """examples/mixed.py: threads and worker processes in one server."""

    async def check(self, *command: str) -> None:
        program = self.start(*command)
        client = self.client(await program.url())
        greeting = await client.call("/greet/Ada/")
        self.assertEqual(greeting, {"hello": "Ada", "process": program.pid})
        counted = await client.call("/primes/100/")
        self.assertEqual(counted["primes"], 25)
        self.assertNotEqual(counted["process"], program.pid)
        self.assertEqual((await client.call("/primes/0/"))["primes"], 0)
        await program.stop()

    async def test_threads_and_workers_serve_one_script(self) -> None:
        """Run as a script."""
        text = (EXAMPLES / "mixed.py").read_text()
        self.assertEqual(text.count("port=8081"), 1)
        (self.folder / "script.py").write_text(text.replace("port=8081", "port=0"))
        await self.check(sys.executable, "script.py")

    async def test_threads_and_workers_serve_under_twistd(self) -> None:
        """Under twistd."""
        await self.check(*TWISTD, f"--app={EXAMPLES / 'mixed.py'}", "--workers=1")


class FollowingTests(ExampleTestCase):
    """examples/following.py, against examples/long_work.py."""

    @slow
    async def test_client_reads_a_stream_follows_a_job_and_cancels_another(self) -> None:
        for server_type in ("threaded", "forked"):
            server = self.start(*TWISTD, f"--app={EXAMPLES / 'long_work.py'}", f"--type={server_type}")
            url = await server.url()
            caller = self.start(sys.executable, str(EXAMPLES / "following.py"), url, "2000")
            self.assertEqual(await caller.ended, 0, caller.output)
            self.assertIn("[" + "#" * 40 + "] 303 primes", caller.err)
            lines = caller.out.split("\n")
            self.assertIn("read: 303 primes below 2000", lines)
            self.assertIn("job: 303 primes below 2000", lines)
            self.assertEqual(lines[-3:], ["cancelled", "410: the job was cancelled", ""])
            await server.stop()
