"""The virtual environment in which all servers run: the peers of C{peers.txt}, and this project."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
BIN = VENV / "bin"
PEERS = HERE / "peers.txt"
SERVERS = HERE / "servers"

NOT_BUILT_FROM = shutil.ignore_patterns(
    ".*", "_trial_temp*", "__pycache__", "build", "dist", "*.egg-info", "benchmarks", "tests", "docs"
)


def pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the environment's pip."""
    command = [str(BIN / "python"), "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def install_peers() -> None:
    """
    Make the environment with the running Python, unless it has exactly the packages of C{peers.txt}.

    @raise SystemExit: when that fails.
    """
    stamp, wanted = VENV / "peers.txt", f"# {sys.base_prefix} {sys.version}\n{PEERS.read_text()}"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    done = pip("install", "--quiet", "--requirement", str(PEERS))
    if done.returncode:
        raise SystemExit(f"cannot install {PEERS}: {done.stderr.strip()}")
    stamp.write_text(wanted)


def install_project() -> str | None:
    """
    Install this checkout. It is built in a copy, so that no files are left in the checkout.

    @return: why it cannot be installed, or None.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checkout"
        try:
            shutil.copytree(HERE.parent, copy, ignore=NOT_BUILT_FROM)
        except shutil.Error as error:
            return f"cannot copy the checkout: {error}"
        done = pip("install", "--quiet", str(copy))
        again = pip("install", "--quiet", "--no-deps", "--force-reinstall", str(copy))
    for run in (done, again):
        if run.returncode:
            return (run.stderr.strip() or "pip failed").splitlines()[-1]
    return None


def versions() -> dict[str, str]:
    """Return every package of the environment with its version."""
    listed = json.loads(pip("list", "--format=json").stdout)
    return {package["name"].lower(): package["version"] for package in listed}
