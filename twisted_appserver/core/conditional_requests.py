"""
Conditional requests (RFC 9110, section 13) and byte ranges (section 14), for bodies that are files. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import formatdate, parsedate_to_datetime
from typing import NamedTuple

ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')  # RFC 9110, section 8.8.3
RANGE = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.IGNORECASE)  # a single one (section 14.1.2)
MOST_DIGITS = 18  # of a position in a range; a longer number is no position in any file
# Nanoseconds after a change in which a file may change again without a new time: kernels set times in steps
# of up to 10 ms, and some file systems store full seconds, or even numbers of seconds.
SETTLED = 2_000_000_000


class Validators(NamedTuple):
    """
    The values by which a client recognizes the version of a file that it has.

    @ivar etag: the entity tag.
    @ivar modified: when the file was changed, in full seconds since the epoch.
    """

    etag: str
    modified: int

    @property
    def last_modified(self) -> str:
        """The value for Last-Modified (RFC 9110, section 8.8.2)."""
        return formatdate(self.modified, usegmt=True)

    @property
    def is_strong(self) -> bool:
        """Whether different contents have different entity tags (RFC 9110, section 8.8.1)."""
        return not self.etag.startswith("W/")


def validators_of(modified: int, size: int, now: int) -> Validators:
    """
    Return the validators of a file.

    The entity tag is made from size and time. It is weak if the file has just been changed, because then the
    file could change again and have the same time.

    @param modified: when the file was changed, in nanoseconds since the epoch.
    @param size: its bytes.
    @param now: the current time, in nanoseconds since the epoch.
    """
    weak = "" if modified + SETTLED <= now else "W/"
    return Validators(f'{weak}"{modified:x}-{size:x}"', modified // 1_000_000_000)


def failed_precondition(headers: Mapping[str, str], found: Validators) -> int:
    """
    Evaluate the preconditions of a GET or HEAD request, in the order of RFC 9110, section 13.2.2.

    @return: 304 if the client's version is current, 412 if the client does not want this version; 0 if the
        request must be performed.
    """
    wanted = headers.get("if-match")
    if wanted is not None:
        if wanted.strip() != "*" and not (found.is_strong and found.etag in ETAG.findall(wanted)):
            return 412
    elif (limit := _seconds(headers.get("if-unmodified-since"))) is not None and found.modified > limit:
        return 412
    known = headers.get("if-none-match")
    if known is not None:
        tags = [each.removeprefix("W/") for each in ETAG.findall(known)]
        return 304 if known.strip() == "*" or found.etag.removeprefix("W/") in tags else 0
    since = _seconds(headers.get("if-modified-since"))
    return 304 if since is not None and found.modified <= since else 0


def _seconds(date: str | None) -> float | None:
    """Return an HTTP date in seconds since the epoch; C{None} if there is none, or it is invalid."""
    try:
        return None if date is None else parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


def requested_range(headers: Mapping[str, str], size: int, found: Validators) -> tuple[int, int] | None:
    """
    Return the range of bytes that a GET request asks for.

    @param size: the bytes of the whole body.
    @return: the first position and the length. The length is 0 if no byte is in the range, which gets 416.
        C{None} for the whole body: without a range, with several, or if the client's version is outdated.
    """
    matched = RANGE.fullmatch(headers.get("range", ""))
    if matched is None or not _is_current(headers.get("if-range"), found):
        return None
    first, last = matched.groups()
    if max(len(first), len(last)) > MOST_DIGITS or not (first or last):
        return None
    if not first:  # the last bytes
        length = min(int(last), size)
        return size - length, length
    begin, end = int(first), min(int(last), size - 1) if last else size - 1
    if last and int(last) < begin:  # invalid, and so ignored (section 14.1.1)
        return None
    return begin, max(0, end - begin + 1)


def _is_current(condition: str | None, found: Validators) -> bool:
    """Evaluate If-Range (RFC 9110, section 13.1.5): both validators must be strong."""
    if condition is None:
        return True
    return found.is_strong and condition.strip() in (found.etag, found.last_modified)
