"""What a release consists of: metadata, and the files that .ci/release builds, checks and uploads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
from importlib.util import find_spec
from pathlib import Path
from unittest import skipUnless

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from tests.support.programs import ROOT, ProgramTestCase
from tests.support.slow import slow

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MADE = {"PKG-INFO", "setup.cfg"}  # by setuptools, in a source distribution
MISSING = [name for name in ("build", "twine", "check_wheel_contents") if find_spec(name) is None]
VERSION = r"""sed -i 's/^version = .*/version = "7.0.0rc1"/' pyproject.toml"""
SECTION = r"printf '## 7.0.0rc1\n' >> CHANGELOG.md"
IDENTITY = ("-c", "user.name=tests", "-c", "user.email=tests@localhost")


class MetadataTests(SynchronousTestCase):
    def test_description_has_no_link_that_is_dead_on_an_index_page(self) -> None:
        text = (ROOT / PROJECT["readme"]).read_text()
        self.assertEqual(re.findall(r"\]\((?!https?://)[^)]*\)", text), [])

    def test_description_has_the_example_of_the_readme(self) -> None:
        blocks = [
            re.findall(r"(?s)```python\n(.*?)```", (ROOT / name).read_text())[0]
            for name in ("README.md", PROJECT["readme"])
        ]
        self.assertEqual(blocks[0], blocks[1])

    def test_classifiers_name_the_versions_of_python_that_ci_tests(self) -> None:
        run = (ROOT / ".ci" / "run").read_text()
        found = re.search(r"for version in ([\d. ]+); do", run)
        assert found is not None
        lowest = PROJECT["requires-python"].removeprefix(">=")
        prefix = "Programming Language :: Python :: "
        named = [each.removeprefix(prefix) for each in PROJECT["classifiers"] if each.startswith(prefix)]
        self.assertEqual([each for each in named if "Only" not in each], [lowest, *found[1].split()])


@slow
@skipUnless((ROOT / ".git").exists() and not MISSING, f"not a clone, or missing: {MISSING}")
class ReleaseTests(ProgramTestCase):
    timeout = 300

    def shell(self, command: str, folder: Path | None = None, status: int = 0) -> str:
        """Run a command. Return its output."""
        path = os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"]))
        environ = {**os.environ, "PATH": path, "PYTHON": sys.executable}
        environ |= {"TWINE_USERNAME": "nobody", "TWINE_PASSWORD": "secret"}
        environ.pop("PYTHONPATH", None)
        done = subprocess.run(
            command,
            shell=True,
            cwd=folder or self.clone,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def setUp(self) -> None:
        super().setUp()
        self.clone = self.folder / "clone"
        self.shell(f"git clone --quiet --depth 1 file://{ROOT} {self.clone}", self.folder)

    def commit(self, command: str) -> None:
        """Change something in the clone, and commit it."""
        self.shell(f"{command} && git {' '.join(IDENTITY)} commit --quiet --all --message tests")

    async def test_release_is_reproducible_checked_and_uploaded(self) -> None:
        self.commit(f"{VERSION} && {SECTION}")
        index = self.folder / "index"
        index.mkdir()
        app = str(ROOT / "tests" / "support" / "package_index.py")
        command = (sys.executable, "-m", "twisted_appserver", app, "--port", "0", "--max-body", "99999999")
        program = self.start(*command, INDEX=str(index))
        url = await program.url()
        output = await deferToThread(self.shell, f".ci/release {url}/legacy/")
        self.assertIn("Upload to", output)
        names = sorted(path.name for path in index.iterdir())
        self.assertEqual(
            names, ["twisted_appserver-7.0.0rc1-py3-none-any.whl", "twisted_appserver-7.0.0rc1.tar.gz"]
        )
        for name in names:
            self.assertEqual((index / name).read_bytes(), (self.clone / "dist" / name).read_bytes())
        download = f"{sys.executable} -m pip download --quiet --no-deps --pre --isolated --no-cache-dir"
        await deferToThread(
            self.shell, f"{download} --index-url {url}/simple/ twisted_appserver", self.folder
        )
        self.assertTrue((self.folder / names[0]).is_file())
        self.check_source(index / names[1])
        await program.stop()

    def check_source(self, path: Path) -> None:
        """Check that a source distribution has every file of the repository, and nothing else."""
        with tarfile.open(path) as archive:
            found = {each.name.partition("/")[2] for each in archive}
            self.assertEqual({(each.uid, each.uname, each.mtime) for each in archive}, {(0, "", 315532800)})
        listed = {*self.shell("git ls-files").split()}
        self.assertEqual({each for each in found - MADE if ".egg-info/" not in each}, listed)

    def test_changes_that_are_not_committed_prevent_a_release(self) -> None:
        (self.clone / "README.md").write_text("changed")
        self.assertIn("not committed", self.shell(".ci/release", status=1))

    def test_version_without_changes_prevents_a_release(self) -> None:
        self.commit(VERSION)
        self.assertIn("CHANGELOG.md has no section for 7.0.0rc1", self.shell(".ci/release", status=1))
