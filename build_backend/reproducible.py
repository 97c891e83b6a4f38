"""
A build backend (PEP 517): setuptools, with archives that depend on nothing but the files in them.

Strategy: setuptools writes the times, the owners and the permissions of the files on this machine into its
archives. So each archive is written again with fixed ones, and its members are sorted. Two builds of the same
files are byte-identical if they use the same versions of Python and setuptools. Times are SOURCE_DATE_EPOCH
(https://reproducible-builds.org/specs/source-date-epoch/), or else the earliest time that a zip file can
contain.
"""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

from setuptools.build_meta import *  # noqa: F403
from setuptools.build_meta import build_sdist as setuptools_sdist
from setuptools.build_meta import build_wheel as setuptools_wheel

EARLIEST = 315532800  # 1980-01-01, in seconds since the epoch
SCRIPT, FILE = 0o755, 0o644


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    """Build a source distribution."""
    name: str = setuptools_sdist(sdist_directory, config_settings)
    write_tar_again(Path(sdist_directory, name), _epoch())
    return name


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: Any = None) -> str:
    """Build a wheel."""
    name: str = setuptools_wheel(wheel_directory, config_settings, metadata_directory)
    write_zip_again(Path(wheel_directory, name), _epoch())
    return name


def _epoch() -> int:
    return max(EARLIEST, int(os.environ.get("SOURCE_DATE_EPOCH") or EARLIEST))


def _mode(mode: int) -> int:
    """Return the permissions of a file: only whether it can be run depends on its own."""
    return SCRIPT if mode & stat.S_IXUSR else FILE


def write_tar_again(path: Path, epoch: int) -> None:
    """Replace a compressed tar file by one with the same files. Folders have no entries of their own."""
    with tarfile.open(path) as old:
        files = {each.name: (each, old.extractfile(each)) for each in old if each.isfile()}
        with (
            open(f"{path}.new", "wb") as raw,
            gzip.GzipFile("", "wb", 9, raw, mtime=0) as compressed,
            tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as new,
        ):
            for name, (member, content) in sorted(files.items()):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mtime, entry.mode = member.size, epoch, _mode(member.mode)
                new.addfile(entry, content)
    os.replace(f"{path}.new", path)


def write_zip_again(path: Path, epoch: int) -> None:
    """Replace a wheel by one with the same files, in the same order: the metadata come last."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(f"{path}.new", "w") as new:
        for member in old.infolist():
            entry = zipfile.ZipInfo(member.filename, time.gmtime(epoch)[:6])
            entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
            entry.external_attr = (stat.S_IFREG | _mode(member.external_attr >> 16)) << 16
            new.writestr(entry, old.read(member))
    os.replace(f"{path}.new", path)
