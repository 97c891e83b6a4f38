"""The package is built, installed, run from another folder, and uninstalled."""

from __future__ import annotations

import os
import shutil
import venv
from pathlib import Path

from twisted.internet.threads import deferToThread

from tests.support.programs import PERSON, ROOT, Program, ProgramTestCase
from tests.support.slow import slow


class PackagingTests(ProgramTestCase):
    """They are slow and need the network: pip downloads setuptools and all dependencies."""

    timeout = 300

    async def environment(self) -> None:
        """Copy the sources, so that nothing is built in the repository, and create a virtual environment."""
        self.source, self.elsewhere = self.folder / "source", self.folder / "elsewhere"
        self.elsewhere.mkdir()
        ignore = shutil.ignore_patterns("__pycache__", "dropin.cache", "*.egg-info")
        for name in ("twisted_appserver", "twisted", "build_backend"):
            shutil.copytree(ROOT / name, self.source / name, ignore=ignore)
        for name in ("setup.py", "pyproject.toml", "DESCRIPTION.md", "LICENSE"):
            shutil.copy(ROOT / name, self.source)
        await deferToThread(venv.create, self.folder / "venv", with_pip=True)
        self.programs = self.folder / "venv" / ("Scripts" if os.name == "nt" else "bin")

    def program(self, name: str, *arguments: str) -> Program:
        """Start a program of the virtual environment in another folder."""
        return self.start(str(self.programs / name), *arguments, folder=self.elsewhere, PYTHONPATH=None)

    async def run_program(self, name: str, *arguments: str) -> str:
        """
        @return: its output.
        """
        program = self.program(name, *arguments)
        self.assertEqual(await program.ended, 0, program.output)
        return program.output

    async def pip(self, *arguments: str) -> None:
        await self.run_program("python", "-m", "pip", *arguments)

    async def check_installed(self) -> None:
        """Check that twistd lists the plugin, and that twistd and the command serve in both types."""
        self.assertRegex(await self.run_program("twistd", "--help"), r"(?m)^ +appserver ")
        self.assertIn("--type=", await self.run_program("twistd", "appserver", "--help"))
        for server_type in ("threaded", "forked"):
            for command in (["twistd", "--nodaemon", "--pidfile=", "appserver"], ["appserver", "--example"]):
                program = self.program(*command, "--port", "0", "--type", server_type)
                self.assertEqual(await self.get(await program.url() + "/person/get/123/"), PERSON)
                await program.stop()

    async def check_removed(self) -> None:
        """Check that without the package, twistd works as before."""
        await self.pip("uninstall", "-y", "twisted_appserver")
        help = await self.run_program("twistd", "--help")
        self.assertNotIn("appserver", help)
        self.assertNotIn("Traceback", help)
        self.assertRegex(help, r"(?m)^ +web ")

    @slow
    async def test_wheel_serves_and_can_be_uninstalled(self) -> None:
        """It has the plugins."""
        await self.environment()
        await self.pip("wheel", "--quiet", "--no-deps", "--wheel-dir", str(self.folder), str(self.source))
        (wheel,) = self.folder.glob("*.whl")
        await self.pip("install", "--quiet", str(wheel))
        for name in ("source", wheel.name):
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        await self.check_installed()
        where = await self.run_program("python", "-c", "import twisted_appserver as t; print(t.__file__)")
        typed = Path(where.strip()).with_name("py.typed")
        self.assertTrue(typed.is_relative_to(self.folder / "venv"), typed)
        self.assertTrue(typed.is_file())
        queue = "twisted_appserver.queue"  # its modules read their SQL files when they are imported
        await self.run_program(
            "python", "-c", f"import {queue}.local.sqlite_journal, {queue}.postgresql.broker"
        )
        await self.check_removed()

    @slow
    async def test_editable_install_serves_and_can_be_uninstalled(self) -> None:
        """It runs the source itself, and has the plugins."""
        await self.environment()
        await self.pip("install", "--quiet", "--editable", str(self.source))
        await self.check_installed()
        where = await self.run_program("python", "-c", "import twisted_appserver as t; print(t.__file__)")
        self.assertEqual(Path(where.strip()), self.source / "twisted_appserver" / "__init__.py")
        await self.check_removed()
