"""The official SDK for Python as a client of real servers, in both types of server."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.access.test_credentials import private
from tests.serving.test_command import CommandTestCase
from tests.support.mcp_calls import MISSING, MODES, sample_arguments, with_client
from tests.support.programs import ROOT
from tests.support.slow import slow

TYPES = ("threaded", "forked")
EXAMPLES = ROOT / "examples"
TOKEN = "0123456789abcdefTOKEN"
# The examples that have a table and need no other program; with the number of functions that can be tools.
TABLES = {
    "article": 1, "assistant": 4, "inventory": 4, "long_work": 1, "media": 9, "middleware": 3, "mixed": 2,
    "typed": 10,
}  # fmt: skip
CONCURRENT = 1000
PROGRAM = """
    import os
    import time
    from pathlib import Path

    def add(a: int, b: int) -> dict[str, int]:
        return {"sum": a + b}

    def steps(count: int):
        for done in range(1, count + 1):
            yield {"done": done, "total": count}

    def hangs(path: str) -> dict[str, bool]:
        Path(path).write_text(str(os.getpid()))
        while Path(path).exists():
            time.sleep(0.01)
        return {"done": True}

    def endless(path: str):
        try:
            while True:
                yield {"at": time.time()}
                time.sleep(0.01)
        finally:
            Path(path).touch()

    url_patterns = (("/add", add), ("/steps", steps), ("/hangs", hangs), ("/endless", endless))
"""


class SDKTestCase(CommandTestCase):
    timeout = 120
    if MISSING:
        skip = MISSING

    async def serve(self, app: str, *options: str) -> int:
        program = self.twistd(
            "--app", app, "--port", "0", "--mcp", *options, NOTES=str(self.folder / "notes")
        )
        self.addCleanup(program.kill_all)
        return await program.port()

    def app(self) -> str:
        return os.path.join(self.folder_of(app=PROGRAM), "app.py")

    def use(self, port: int, use: Any, **options: Any) -> Deferred[Any]:
        return with_client(port, use, **options)


class CallTests(SDKTestCase):
    async def check_progress(self, server_type: str) -> None:
        port = await self.serve(self.app(), "--type", server_type, "--workers", "1")
        for mode in MODES:

            async def use(client: Any) -> tuple[Any, list[Any]]:
                seen = []

                async def report(*progress: Any) -> None:
                    seen.append(progress[:2])

                result = await client.call_tool("steps", {"count": 20}, progress_callback=report)
                return result, seen

            result, seen = await self.use(port, use, mode=mode)
            self.assertEqual(result.structured_content, {"done": 20, "total": 20})
            self.assertEqual(seen, [(number, 20) for number in range(1, 21)])

    async def test_progress_is_received_from_threads(self) -> None:
        await self.check_progress("threaded")

    async def test_progress_is_received_from_worker_processes(self) -> None:
        await self.check_progress("forked")

    async def check_cancel(self, server_type: str, mode: str) -> None:
        """Cancel a generator, which closes it, while a further call is answered."""
        port = await self.serve(self.app(), "--type", server_type, "--workers", "1")
        path = self.folder / f"left-{server_type}-{mode}"

        async def use(client: Any) -> Any:
            begun = asyncio.Event()

            async def report(*_: Any) -> None:
                begun.set()

            running = asyncio.create_task(
                client.call_tool("endless", {"path": str(path)}, progress_callback=report)
            )
            await begun.wait()
            running.cancel()
            return await client.call_tool("add", {"a": 1, "b": 2})

        result = await self.use(port, use, mode=mode)
        self.assertEqual(result.structured_content, {"sum": 3})
        if server_type == "threaded":  # A worker process is killed, and cannot clean up.
            while not path.exists():
                await deferLater(reactor, 0.01)

    async def test_generator_in_a_thread_is_cancelled(self) -> None:
        for mode in MODES:
            await self.check_cancel("threaded", mode)

    async def test_generator_in_a_worker_process_is_cancelled(self) -> None:
        for mode in MODES:
            await self.check_cancel("forked", mode)

    async def test_worker_process_that_runs_a_cancelled_function_is_killed(self) -> None:
        port = await self.serve(self.app(), "--type", "forked", "--workers", "1")
        for mode in MODES:
            path = self.folder / f"runs-{mode}"

            async def use(client: Any, path: Path = path) -> Any:
                running = asyncio.create_task(client.call_tool("hangs", {"path": str(path)}))
                while not (path.exists() and path.read_text()):
                    await asyncio.sleep(0.01)
                running.cancel()
                return await client.call_tool("add", {"a": 1, "b": 2})  # by another worker process

            result = await self.use(port, use, mode=mode)
            self.assertEqual(result.structured_content, {"sum": 3})
            self.assertFalse(Path(f"/proc/{path.read_text()}").exists())

    async def test_client_without_the_token_is_rejected(self) -> None:
        token = private(str(self.folder / "token"), TOKEN)
        port = await self.serve(self.app(), "--token-file", token)

        async def names(client: Any) -> list[str]:
            return [tool.name for tool in (await client.list_tools()).tools]

        self.assertEqual(await self.use(port, names, token=TOKEN), ["add", "steps", "hangs", "endless"])
        for mode in MODES:
            for wrong in ("", "another-token-of-this-length"):
                with self.assertRaises(Exception) as raised:
                    await self.use(port, names, mode=mode, token=wrong)
                self.assertIn("Server returned an error response", _texts(raised.exception))


def _texts(error: BaseException) -> str:
    """Return the messages of an error and of the errors in its group."""
    inner = getattr(error, "exceptions", ())
    return " ".join([str(error), *map(_texts, inner)])


class ExampleTests(SDKTestCase):
    """Each tool of each example is listed and called."""

    async def check(self, name: str, server_type: str) -> None:
        environ = {"INVENTORY": str(self.folder / f"inventory-{server_type}")}
        for key, value in environ.items():
            os.environ[key] = value
            self.addCleanup(os.environ.pop, key, None)
        port = await self.serve(str(EXAMPLES / f"{name}.py"), "--type", server_type, "--workers", "1")

        async def use(client: Any) -> dict[str, Any]:
            listed = (await client.list_tools()).tools
            return {tool.name: await client.call_tool(tool.name, sample_arguments(tool)) for tool in listed}

        found = await self.use(port, use)
        self.assertEqual(len(found), TABLES[name], found)
        for tool, result in found.items():
            text = "".join(getattr(each, "text", "") for each in result.content)
            self.assertFalse(result.is_error and text.startswith("5"), f"{tool}: {text}")
        self.assertTrue(any(not result.is_error for result in found.values()), found)

    @slow
    async def test_tools_of_all_examples_in_threads(self) -> None:
        for name in TABLES:
            await self.check(name, "threaded")

    @slow
    async def test_tools_of_all_examples_in_worker_processes(self) -> None:
        for name in TABLES:
            await self.check(name, "forked")

    async def test_assistant_keeps_notes(self) -> None:
        """examples/assistant.py"""
        port = await self.serve(str(EXAMPLES / "assistant.py"))

        async def use(client: Any) -> list[Any]:
            hints = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
            self.assertTrue(hints["search"].read_only_hint and hints["delete"].destructive_hint)
            written = await client.call_tool("write", {"text": "buy milk"})
            calls = [
                ("search", {"text": "milk"}),
                ("longest", {}),
                ("delete", {"id": 1}),
                ("delete", {"id": 1}),
            ]
            return [written, *[await client.call_tool(*each) for each in calls]]

        written, found, longest, deleted, again = await self.use(port, use)
        note = {"id": 1, "text": "buy milk"}
        self.assertEqual((written.structured_content, found.structured_content), (note, [note]))
        self.assertEqual(longest.structured_content, {"done": 1, "total": 1, "word": "milk"})
        self.assertEqual((deleted.structured_content, again.is_error), (note, True))


class LoadTests(SDKTestCase):
    async def check(self, server_type: str, mode: str) -> None:
        port = await self.serve(self.app(), "--type", server_type, "--max-pending", str(CONCURRENT))

        async def use(client: Any) -> list[Any]:
            await client.list_tools()
            calls = (client.call_tool("add", {"a": number, "b": 1}) for number in range(CONCURRENT))
            return await asyncio.gather(*calls)

        results = await self.use(port, use, mode=mode)
        sums = [result.structured_content["sum"] for result in results]
        self.assertEqual(sums, list(range(1, CONCURRENT + 1)))

    @slow
    async def test_thousand_concurrent_calls_in_threads(self) -> None:
        for mode in MODES:
            await self.check("threaded", mode)

    @slow
    async def test_thousand_concurrent_calls_in_worker_processes(self) -> None:
        for mode in MODES:
            await self.check("forked", mode)
