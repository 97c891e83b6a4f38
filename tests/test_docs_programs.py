"""The programs in the documentation run."""

from __future__ import annotations

import json
import re
import shlex
import socket
import sys
from pathlib import Path
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from tests.support.pages import DOCS, blocks, programs
from tests.support.programs import ROOT, ProgramTestCase
from tests.support.recording import PICTURE, draw, record
from tests.support.slow import slow

CURL = r"(?m)^\$ (curl .+)\n(.*)$"
FIRST = DOCS / "guide" / "first-service.md"


class ProgramTests(ProgramTestCase):
    """The programs in the documentation run."""

    async def test_every_whole_program_serves_and_stops(self) -> None:
        count = 0
        for name, block in programs():
            if "__main__" in block and "run_server(" in block:
                script = self.folder / f"program{count}.py"
                script.write_text(re.sub(r"run_server\((port=\d+)?", "run_server(port=0", block))
                program = self.start(sys.executable, str(script))
                await program.url()
                await program.stop()
                self.assertNotIn("Traceback", program.output, name)
                count += 1
        self.assertEqual(count, 3)  # the first example of the README and of the site, and the shop

    @slow
    async def test_curl_commands_of_the_guide_get_its_responses(self) -> None:
        """In both server types."""
        (self.folder / "shop.py").write_text(blocks(FIRST, "python")[0])
        commands = re.findall(CURL, "".join(blocks(FIRST, "console")))
        self.assertTrue(len(commands) > 5, commands)
        for server_type in ("threaded", "forked"):
            command = f"-m twisted_appserver --port=0 --app=shop.py --type={server_type}"
            server = self.start(sys.executable, *command.split())
            url = await server.url()
            for command, expected in commands:
                curl = self.start("curl", *shlex.split(command.replace("localhost:8080", url))[1:])
                await curl.ended
                answer = re.sub(r'"instance":"[\w-]+"', '"instance":"..."', curl.output)
                self.assertEqual(answer, expected, command)
            await server.stop()

    @slow
    async def test_client_of_the_guide_calls_its_shop(self) -> None:
        """It gets results and errors."""
        (self.folder / "shop.py").write_text(blocks(FIRST, "python")[0])
        calls = blocks(DOCS / "guide" / "python-client.md", "python")[0]
        calls += "\nfrom twisted.internet.task import react\n"
        calls += "async def show(reactor, url): print(await bolts(url))\nreact(show, sys.argv[1:])\n"
        (self.folder / "calls.py").write_text("import sys\n" + calls)
        server = self.start(sys.executable, "-m", "twisted_appserver", "--port=0", "--app=shop.py")
        url = await server.url()
        for base, expected in ((url, "'count': 3"), (f"{url}/none", "'refused': 404")):
            caller = self.start(sys.executable, "calls.py", base)
            await caller.ended
            self.assertIn(expected, caller.output)
        await server.stop()

    async def test_app_resource_of_the_guide_works_below_a_path(self) -> None:
        """With its own worker processes."""
        block = next(block for _, block in programs() if "ProcessExecutor(" in block)
        block += "\nfrom twisted.web.server import Site\n"
        block += "port = reactor.listenTCP(0, Site(root), interface='127.0.0.1')\n"
        block += "print(f'http://localhost:{port.getHost().port}/')\nreactor.run()\n"
        (self.folder / "mounting.py").write_text(block)
        server = self.start(sys.executable, "mounting.py")
        answer = await self.get(await server.url() + "/api/person/get/123/")
        self.assertEqual(answer, b'{"object_type":"person","object_id":"123"}')
        await server.stop()

    async def test_coroutines_of_the_guide_work(self) -> None:
        """They await asyncio and Deferreds."""
        block = next(block for _, block in programs() if "wait_for_both" in block)
        (self.folder / "waiting.py").write_text(block)
        server = self.start(sys.executable, "-m", "twisted_appserver", "--port=0", "--app=waiting.py")
        url = await server.url()
        for path in ("wait", "deferred"):
            self.assertEqual(await self.get(f"{url}/{path}/0.01/"), b'{"waited":0.01}')
        self.assertEqual(await self.get(f"{url}/both/0.01/"), b'{"waited":["asyncio","Twisted"]}')
        self.assertEqual(await self.get(f"{url}/count/0.01/"), b'{"number":0}\n{"number":1}\n{"number":2}\n')
        await server.stop()

    async def test_tac_file_of_the_guide_works_with_twistd(self) -> None:
        block = next(block for _, block in programs() if "setServiceParent" in block)
        (self.folder / "example.tac").write_text(re.sub(r"port=\d+", "port=0", block))
        run = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"
        command = "--nodaemon --pidfile= --python=example.tac"
        server = self.start(sys.executable, "-c", run, *command.split())
        answer = await self.get(await server.url() + "/person/get/123/")
        self.assertEqual(answer, b'{"object_type":"person","object_id":"123"}')
        self.assertIn('"logger":"twisted_appserver', server.output)
        await server.stop()


class TenTests(ProgramTestCase):
    """The commands that a newcomer types."""

    def commands(self) -> list[str]:
        """Return the commands, with ports that are free."""
        text = (ROOT / "README.md").read_text().partition("## In ten commands")[2]
        (block,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for port in sorted(set(re.findall(r"\b80\d\d\b", block))):
            with socket.create_server(("127.0.0.1", 0)) as free:
                block = block.replace(port, str(free.getsockname()[1]))
        return block.replace(".venv/bin/", f"{Path(sys.executable).parent}/").splitlines()

    @slow
    async def test_ten_commands_of_the_readme_work_together(self) -> None:
        """If all are pasted at once, they wait for the servers."""
        commands = [*self.commands(), "kill %1 %2 %3", "wait"]
        program = self.start("/bin/bash", "-c", "\n".join(commands))
        await program.ended
        for expected, count in (('{"double":8}', 2), ('"status":422', 1), ('"task": {"picture": 7}', 1)):
            self.assertEqual(program.out.count(expected), count, program.output)

    @slow
    async def test_ten_commands_of_the_readme_work(self) -> None:
        commands = self.commands()
        self.assertLessEqual(len(commands), 10)
        said = []
        for command in commands:
            if command.endswith("&"):
                await self.start("/bin/sh", "-c", f"exec {command[:-1]}").url()
            else:
                program = self.start("/bin/sh", "-c", command)
                self.assertEqual(await program.ended, 0, program.output)
                said.append(program.output)
        made, four, refused, page, forked, put, got = said
        self.assertEqual((made, four, forked), ("", '{"double":8}', '{"double":8}'))
        self.assertIn('"status":422', refused)
        self.assertIn("<title>Functions</title>", page)
        self.assertIn("task_id", put)
        self.assertEqual(json.loads(got)["task"], {"picture": 7})


class RecordingTests(SynchronousTestCase):
    """The recorded terminal in the README and on the first page of the site."""

    @slow
    def test_recording_shows_what_the_programs_print_today(self) -> None:
        advice = "python -m tests.support.recording makes the picture again"
        self.assertEqual(PICTURE.read_text(), draw(record()), advice)

    def test_recording_is_small_and_respects_the_settings_of_readers(self) -> None:
        """It loads nothing, has two themes, and moves only if readers want that."""
        text = PICTURE.read_text()
        self.assertLess(len(text), 30_000)
        tree = ElementTree.fromstring(text)
        self.assertEqual(tree.get("role"), "img")
        for setting in ("prefers-color-scheme: dark", "prefers-reduced-motion: reduce"):
            self.assertIn(f"@media ({setting})", text)
        self.assertNotRegex(text, "<script|<image|href|@import|url\\(")
