"""Clients that generators make from the OpenAPI document, and their calls of a running server."""

from __future__ import annotations

from pathlib import Path

from tests.access.test_credentials import private
from tests.serving.test_command import CommandTestCase
from tests.support.generated_client import TOKEN
from tests.support.programs import ROOT, Program
from tests.support.slow import slow
from tests.support.wire import exchange, request

EXAMPLES = ROOT / "examples"
GENERATE = "import sys; from openapi_python_client.cli import app; app(sys.argv[1:])"
# A media type of the application itself, which the generator would not read.
CONFIGURATION = "post_hooks: []\ncontent_type_overrides:\n  image/svg+xml: application/octet-stream\n"


class ClientTestCase(CommandTestCase):
    """
    A server of an example with a folder for its client.

    @ivar folder: the folder, in which openapi.json is.
    """

    timeout = 120

    async def serve(self, example: str, *options: str) -> tuple[Program, int]:
        """Start a server that requires a token, and save its document."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        token = private(str(self.folder / "token"), TOKEN)
        app = str(EXAMPLES / f"{example}.py")
        program = self.twistd("--app", app, "--port", "0", "--token-file", token, *options)
        port = await program.port()
        headers = [("authorization", f"Bearer {TOKEN}")]
        answer = await exchange(port, request("GET", "/-/openapi.json", headers=headers))
        (self.folder / "openapi.json").write_bytes(answer.body)
        return program, port


class PythonTests(ClientTestCase):
    """openapi-python-client."""

    async def check(self, example: str, *options: str) -> None:
        """Make a client without any warning, and call everything."""
        program, port = await self.serve(example, *options)
        (self.folder / "config.yml").write_text(CONFIGURATION)
        places = ("--path", "openapi.json", "--output-path", example, "--config", "config.yml")
        arguments = ("generate", "--meta", "none", "--fail-on-warning", *places)
        made = self.python("-c", GENERATE, *arguments, folder=self.folder)
        self.assertEqual(await made.ended, 0, made.output)
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
