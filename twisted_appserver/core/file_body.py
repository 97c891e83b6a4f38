"""A file that a function returns as the body of a L{Reply}. Only its path travels to the server."""

from __future__ import annotations

import os
from mimetypes import guess_type
from typing import Any

import msgspec

BINARY = "application/octet-stream"
# Types of compressed files. The file itself is the representation, so it gets no Content-Encoding: a client
# that saves it expects the compressed bytes.
COMPRESSED = {
    "br": "application/x-brotli",
    "bzip2": "application/x-bzip2",
    "compress": "application/x-compress",
    "gzip": "application/gzip",
    "xz": "application/x-xz",
}


class FileBody(msgspec.Struct, frozen=True, array_like=True):
    """
    The body of a reply, which the server reads from a file.

    @ivar path: the absolute path, in the encoding of the file system.
    """

    path: bytes


def file_body(path: os.PathLike[Any]) -> tuple[FileBody, str]:
    """Return the body for a path, and the content type that its name suggests."""
    absolute = os.path.abspath(os.fsdecode(path))
    kind, encoding = guess_type(os.path.basename(absolute))
    if encoding is not None:
        kind = COMPRESSED.get(encoding, BINARY)
    elif kind is not None and kind.startswith("text/"):
        kind += "; charset=utf-8"
    return FileBody(os.fsencode(absolute)), kind or BINARY
