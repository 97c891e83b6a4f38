"""Clients that generators make from the OpenAPI document, and their calls of a running server."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from openapi_spec_validator import validate

from tests.access.test_credentials import private
from tests.serving.test_command import CommandTestCase
from tests.support import described
from tests.support.generated_client import TOKEN
from tests.support.programs import ROOT, Program
from tests.support.slow import slow
from tests.support.wire import exchange, request
from twisted_appserver import Router
from twisted_appserver.admin.openapi import make_document

EXAMPLES = ROOT / "examples"
NODE = ROOT / "tests" / "support" / "node"  # the client, and the packages of npm that it needs
TYPES = ("--noEmit", "--allowJs", "--checkJs", "--strict", "--skipLibCheck", "--target", "es2022")
TYPES += ("--lib", "es2023,dom", "--module", "esnext", "--moduleResolution", "bundler")
GENERATE = "import sys; from openapi_python_client.cli import app; app(sys.argv[1:])"
# A media type of the application itself, which the generator would not read.
CONFIGURATION = "post_hooks: []\ncontent_type_overrides:\n  image/svg+xml: application/octet-stream\n"


class ClientTestCase(CommandTestCase):
    """
    A server of an example with a folder for its client.

    @ivar folder: the folder.
    """

    timeout = 120

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def write_described(self) -> None:
        """Save the document of functions of every kind as described.json."""
        made = json.dumps(make_document(Router(described.url_patterns).entries, "described", jobs=True))
        validate(json.loads(made))
        (self.folder / "described.json").write_text(made)

    async def serve(self, example: str, *options: str) -> tuple[Program, int]:
        """Start a server that requires a token, and save its document as a file in the folder."""
        token = private(str(self.folder / "token"), TOKEN)
        app = str(EXAMPLES / f"{example}.py")
        program = self.twistd("--app", app, "--port", "0", "--token-file", token, *options)
        port = await program.port()
        headers = [("authorization", f"Bearer {TOKEN}")]
        answer = await exchange(port, request("GET", "/-/openapi.json", headers=headers))
        (self.folder / f"{example}.json").write_bytes(answer.body)
        return program, port


class PythonTests(ClientTestCase):
    """openapi-python-client."""

    async def generate(self, example: str) -> None:
        """Make a client without any warning."""
        (self.folder / "config.yml").write_text(CONFIGURATION)
        places = ("--path", f"{example}.json", "--output-path", example, "--config", "config.yml")
        arguments = ("generate", "--meta", "none", "--fail-on-warning", *places)
        made = self.python("-c", GENERATE, *arguments, folder=self.folder)
        self.assertEqual(await made.ended, 0, made.output)

    async def check(self, example: str, *options: str) -> None:
        """Make a client, and call everything."""
        program, port = await self.serve(example, *options)
        await self.generate(example)
        script = str(ROOT / "tests" / "support" / "generated_client.py")
        run = self.python(script, example, f"http://localhost:{port}", PYTHONPATH=str(self.folder))
        self.assertEqual(await run.ended, 0, run.output)
        self.assertRegex(run.output, r"\d\d operations called")
        await self.stopped(program)

    @slow
    async def test_every_function_with_types_is_called(self) -> None:
        """examples/typed.py, in threads."""
        await self.check("typed")

    @slow
    async def test_bytes_lists_streams_and_jobs_are_called(self) -> None:
        """examples/media.py, in worker processes."""
        await self.check("media", "--type", "forked", "--workers", "1")

    @slow
    async def test_client_of_every_kind_of_function_compiles(self) -> None:
        """tests/support/described.py: names, types, defaults and paths for which generators have failed."""
        self.write_described()
        await self.generate("described")
        run = self.python("-W", "error", "-m", "compileall", "-q", str(self.folder / "described"))
        self.assertEqual(await run.ended, 0, run.output)


class TypeScriptTests(ClientTestCase):
    """openapi-typescript, whose types openapi-fetch uses."""

    missing = "node" if shutil.which("node") is None else ""
    if not (NODE / "node_modules" / "openapi-typescript").is_dir():
        missing = missing or "openapi-typescript"
    if missing and os.environ.get("SLOW_TESTS"):
        skip = f"{missing} is not installed (Debian: apt-get install npm; npm install --prefix {NODE})"

    async def node(self, program: str, *arguments: str) -> str:
        """Run a program of the packages. Returns its output."""
        script = self.folder / "node_modules" / program
        run = self.start(shutil.which("node") or "node", str(script), *arguments, folder=self.folder)
        self.assertEqual(await run.ended, 0, run.output)
        return run.output

    @slow
    async def test_functions_are_called_with_checked_types(self) -> None:
        """The types fit what the client sends and receives, and the server's responses fit the types."""
        shutil.copy(NODE / "client.mjs", self.folder)
        (self.folder / "node_modules").symlink_to(NODE / "node_modules")
        servers = [await self.serve(example) for example in ("typed", "media")]
        for example in ("typed", "media"):
            options = ("--output", f"{example}.d.ts", "--default-non-nullable", "false")
            await self.node("openapi-typescript/bin/cli.js", f"{example}.json", *options)
        self.write_described()
        await self.node("openapi-typescript/bin/cli.js", "described.json", "--output", "described.ts")
        await self.node("typescript/bin/tsc", *TYPES, "client.mjs", "described.ts")
        urls = [f"http://localhost:{port}" for _, port in servers]
        self.assertRegex(await self.node("../client.mjs", *urls), r"\d\d operations called")
        for program, _ in servers:
            await self.stopped(program)
