"""
Hashed passwords in a file, for C{--auth hashed:FILE}.

C{python -m twisted_appserver.access.passwords NAME >> FILE} prompts for a password and prints a line for the
file, which contains only a salted hash by scrypt (RFC 7914).
"""

from __future__ import annotations

import sys
from base64 import b64decode, b64encode
from getpass import getpass
from hashlib import scrypt
from hmac import compare_digest
from os import urandom
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from twisted_appserver.access.private_files import read_private

COST, BLOCK, PARALLEL = 2**14, 8, 1  # of scrypt: 16 MiB and about 50 ms
TURNS = 2  # passwords at the same time, so that guessing leaves threads to others


def line(name: str, password: str) -> str:
    """
    What stands in the file for a name.

    @raise ValueError: when the name is empty or has a colon, which ends it; or the password is empty.
    """
    if not name or ":" in name or not name.isprintable():
        raise ValueError(f"a name must not be empty or have a colon: {name!r}")
    if not password:
        raise ValueError("the password must not be empty")
    salt = urandom(16)
    words = (
        "scrypt",
        str(COST),
        str(BLOCK),
        str(PARALLEL),
        _text(salt),
        _text(_hash(password.encode(), salt)),
    )
    return f"{name}:{'$'.join(words)}"


def _text(data: bytes) -> str:
    return b64encode(data).decode()


def _hash(
    password: bytes, salt: bytes, cost: int = COST, block: int = BLOCK, parallel: int = PARALLEL
) -> bytes:
    return scrypt(password, salt=salt, n=cost, r=block, p=parallel, maxmem=256 * cost * block, dklen=32)


@implementer(ICredentialsChecker)
class HashedPasswords:
    """
    Checks names and passwords against a file, in the reactor's threads.

    @raise OSError: when the file cannot be read.
    @raise ValueError: when a line of it is none of L{line}'s, or other users can read or write it.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, path: str, reactor: Any) -> None:
        self._reactor, self._turns = reactor, DeferredSemaphore(TURNS)
        self._known: dict[bytes, tuple[bytes, bytes, int, int, int]] = {}
        lines = read_private(path).decode().splitlines()
        for number, text in enumerate(lines, 1):
            if text.strip():
                name, _, rest = text.strip().partition(":")
                try:
                    kind, cost, block, parallel, salt, digest = rest.split("$")
                    known = (b64decode(salt), b64decode(digest), int(cost), int(block), int(parallel))
                    if kind != "scrypt":
                        raise ValueError(kind)
                except ValueError:
                    made = "python -m twisted_appserver.access.passwords NAME"
                    raise ValueError(f"line {number} of {path} is none that `{made}` prints") from None
                self._known[name.encode()] = known
        # A name that there is not takes as long as one that there is.
        self._nobody = (urandom(16), urandom(32), COST, BLOCK, PARALLEL)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        pool = self._reactor.getThreadPool()
        words = credentials.username, credentials.password
        return self._turns.run(deferToThreadPool, self._reactor, pool, self._check, *words)

    def _check(self, name: bytes, password: bytes) -> bytes:
        salt, digest, *costs = self._known.get(name, self._nobody)
        if not compare_digest(_hash(password, salt, *costs), digest):
            raise UnauthorizedLogin("this name and password are not right")
        return name


def main(arguments: list[str]) -> int:
    """Print the line for a name, whose password is asked for, or read from what is no terminal."""
    try:
        (name,) = arguments
        if name.startswith("-"):
            raise ValueError(f"there is no option {name}")
        password = (
            getpass(f"Password for {name}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
        )
        if sys.stdin.isatty() and getpass("Once more: ") != password:
            raise ValueError("these were two different ones")
        print(line(name, password))
    except ValueError as error:
        print(
            f"passwords: {error}; usage: python -m twisted_appserver.access.passwords NAME", file=sys.stderr
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
