"""Reads and writes forms with files: multipart/form-data (RFC 7578). Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from os import urandom
from typing import Any
from urllib.parse import unquote

import multipart

from twisted_appserver.core.upload import CONTROL, Upload
from twisted_appserver.errors import HTTPError

MAX_FIELDS = 1000  # fields of a query string or a form
# Some clients send the name of a file as C{filename*}, although RFC 7578 (section 4.2) forbids it.
FILE_NAME = re.compile(r"(?:^|;)\s*filename\*\s*=\s*(?:[\w-]*'[\w-]*')?([^;\s]*)", re.IGNORECASE)
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
# Characters that the HTML standard escapes in names (section 4.10.21.8, multipart/form-data).
ESCAPES = str.maketrans({"\r": "%0D", "\n": "%0A", '"': "%22"})

TakesFile = Callable[[str], bool]  # returns whether a file of this name is wanted; may raise HTTPError


def refuse_files(name: str) -> bool:
    """
    Refuse every file.

    @raise HTTPError: 415.
    """
    raise HTTPError(415, "multipart/form-data with files is not accepted; send fields only")


def read_multipart(
    body: bytes, content_type: str, takes_file: TakesFile
) -> Iterable[tuple[str, str | Upload]]:
    """
    Return the fields of a form in their order: text, and files as L{Upload}s.

    A file input in which no file was chosen is left out.

    @param takes_file: called for each file, before its data is copied.
    @raise HTTPError: 400 when the body is malformed.
    """
    _, options = multipart.parse_options_header(content_type)
    boundary = options.get("boundary")
    if not boundary:
        raise HTTPError(400, "the multipart body cannot be read: its Content-Type header has no boundary")
    found: list[tuple[str, str | Upload]] = []
    try:
        with multipart.PushMultipartParser(boundary, max_segment_count=MAX_FIELDS) as parser:
            parts: list[bytes] = []
            for event in parser.parse(body):
                if isinstance(event, multipart.MultipartSegment):
                    segment, parts = event, []
                elif event is not None:
                    parts.append(event)
                else:
                    found += _field(segment, parts, takes_file)
    except (multipart.MultipartError, UnicodeDecodeError) as error:
        raise HTTPError(400, f"the multipart body cannot be read: {error}") from None
    return found


def _field(segment: Any, parts: list[bytes], takes_file: TakesFile) -> Iterable[tuple[str, str | Upload]]:
    """Yield the name and the value of a part, unless it is a file that is not wanted."""
    if not segment.name:
        raise HTTPError(400, "the multipart body cannot be read: a part has no name")
    disposition = segment.header("Content-Disposition", "")
    filename = segment.filename or _extended_file_name(disposition) or segment.filename
    if filename is None:
        yield segment.name, b"".join(parts).decode("utf-8")
    elif (filename or parts) and takes_file(segment.name):
        kind = segment.header("Content-Type") or "application/octet-stream"
        yield segment.name, Upload(filename, kind, b"".join(parts))


def _extended_file_name(disposition: str) -> str | None:
    found = FILE_NAME.search(QUOTED.sub("", disposition))
    return None if found is None else unquote(found[1])


def has_files(fields: Mapping[str, Any]) -> bool:
    """Return whether fields contain an L{Upload}, or a list with one."""
    return any(isinstance(each, Upload) for _, each in _pairs(fields))


def _pairs(fields: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Yield the fields as a form contains them: a list is a repeated field."""
    for name, value in fields.items():
        for each in value if isinstance(value, list | tuple) else (value,):
            yield name, each


def write_multipart(fields: Mapping[str, Any]) -> tuple[bytes, str]:
    """
    Return a body with these fields, and its Content-Type.

    @param fields: text, numbers and L{Upload}s by name; a list becomes several fields of the same name.
    """
    boundary = urandom(16).hex()
    parts = []
    for name, value in _pairs(fields):
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name.translate(ESCAPES)}"'
        data = value.data if isinstance(value, Upload) else _text(name, value).encode()
        if isinstance(value, Upload):
            if CONTROL.search(value.content_type):
                raise ValueError(f"the content type of {name} contains a line end: {value.content_type!r}")
            head += f'; filename="{value.filename.translate(ESCAPES)}"\r\nContent-Type: {value.content_type}'
        parts.append(head.encode() + b"\r\n\r\n" + data + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, Mapping | bytes):
        raise TypeError(
            f"{name} is {type(value).__name__}, which a form cannot contain; send text or an Upload"
        )
    return str(value)
