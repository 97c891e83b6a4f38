"""A file from a multipart form."""

from __future__ import annotations

import re
from typing import Any

SEPARATOR = re.compile(r"[/\\]")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
SCHEMA = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}


def _last_component(filename: str) -> str:
    """Return a file name without folders and control characters; empty if nothing is left."""
    name = CONTROL.sub("", SEPARATOR.split(filename)[-1]).strip()
    return "" if name in (".", "..") else name


class Upload:
    """
    A file that a client sends in a multipart form (RFC 7578). A parameter annotated C{Upload} receives one,
    and a parameter annotated C{list[Upload]} receives several.

    Everything in it comes from the client. Do not trust the file name or the content type.

    @ivar filename: the name of the file, without folders; empty if the client sent none.
    @ivar content_type: the Content-Type of the file, as the client sent it.
    @ivar data: the content.
    """

    __slots__ = ("content_type", "data", "filename")

    filename: str
    content_type: str
    data: bytes

    def __init__(
        self, filename: str = "", content_type: str = "application/octet-stream", data: bytes = b""
    ) -> None:
        self.filename = _last_component(filename)
        self.content_type, self.data = content_type, data

    def __repr__(self) -> str:
        return f"Upload({self.filename!r}, {self.content_type!r}, <{len(self.data)} bytes>)"

    def _key(self) -> tuple[str, str, bytes]:
        return self.filename, self.content_type, self.data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Upload) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let models of pydantic have fields of this type."""
        from pydantic_core import PydanticCustomError, core_schema

        def check(value: object) -> object:
            if isinstance(value, cls):
                return value
            raise PydanticCustomError("upload", "Input should be a file in a multipart form")

        return core_schema.no_info_plain_validator_function(check)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, str]:
        return dict(SCHEMA)
