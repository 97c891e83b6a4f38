"""
Hashed passwords in a file, for C{--auth hashed:FILE}.

C{python -m twisted_appserver.access.passwords NAME >> FILE} prompts for a password and prints a line for the
file. The line contains only a salted hash, computed with scrypt (RFC 7914).
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

COMMAND = "python -m twisted_appserver.access.passwords NAME"
COST, BLOCK, PARALLEL = 2**14, 8, 1  # parameters of scrypt: a hash takes 16 MiB and about 50 ms
CONCURRENT_CHECKS = 2  # leaves threads to other work while somebody guesses passwords


def password_line(name: str, password: str) -> str:
    """
    Return the line of the file for a user.

    @raise ValueError: when the name is empty or contains a colon, or the password is empty.
    """
    if not name or ":" in name or not name.isprintable():
        raise ValueError(f"the name must be printable, not empty, and without a colon: {name!r}")
    if not password:
        raise ValueError("the password must not be empty")
    salt = urandom(16)
    digest = _hash(password.encode(), salt)
    fields = ("scrypt", str(COST), str(BLOCK), str(PARALLEL), _base64(salt), _base64(digest))
    return f"{name}:{'$'.join(fields)}"


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


def _hash(
    password: bytes, salt: bytes, cost: int = COST, block: int = BLOCK, parallel: int = PARALLEL
) -> bytes:
    return scrypt(password, salt=salt, n=cost, r=block, p=parallel, maxmem=256 * cost * block, dklen=32)


@implementer(ICredentialsChecker)
class HashedPasswords:
    """
    Check names and passwords against a file, in the reactor's thread pool.

    @raise OSError: when the file cannot be read.
    @raise ValueError: when a line is malformed, or other users can read or write the file.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, path: str, reactor: Any) -> None:
        self._reactor, self._semaphore = reactor, DeferredSemaphore(CONCURRENT_CHECKS)
        self._hashes: dict[bytes, tuple[bytes, bytes, int, int, int]] = {}
        lines = read_private(path).decode().splitlines()
        for number, line in enumerate(lines, 1):
            if line.strip():
                name, _, rest = line.strip().partition(":")
                try:
                    kind, cost, block, parallel, salt, digest = rest.split("$")
                    parsed = (b64decode(salt), b64decode(digest), int(cost), int(block), int(parallel))
                    if kind != "scrypt":
                        raise ValueError(kind)
                except ValueError:
                    raise ValueError(
                        f"line {number} of {path} is malformed; `{COMMAND}` prints lines"
                    ) from None
                self._hashes[name.encode()] = parsed
        # Checking an unknown name takes as long as checking a known one.
        self._unknown = (urandom(16), urandom(32), COST, BLOCK, PARALLEL)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        pool = self._reactor.getThreadPool()
        name, password = credentials.username, credentials.password
        return self._semaphore.run(deferToThreadPool, self._reactor, pool, self._check, name, password)

    def _check(self, name: bytes, password: bytes) -> bytes:
        salt, digest, *costs = self._hashes.get(name, self._unknown)
        if not compare_digest(_hash(password, salt, *costs), digest):
            raise UnauthorizedLogin("wrong name or password")
        return name


def main(arguments: list[str]) -> int:
    """
    Print the line for the name in C{arguments}. The password is read from the terminal, or from standard
    input.

    @return: the exit status.
    """
    try:
        (name,) = arguments
        if name.startswith("-"):
            raise ValueError(f"unknown option {name}")
        interactive = sys.stdin.isatty()
        password = getpass(f"Password for {name}: ") if interactive else sys.stdin.readline().rstrip("\n")
        if interactive and getpass("Repeat the password: ") != password:
            raise ValueError("the passwords differ")
        print(password_line(name, password))
    except ValueError as error:
        print(f"passwords: {error}; usage: {COMMAND}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
