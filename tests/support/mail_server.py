"""A mail server that refuses some messages."""

from __future__ import annotations

from collections import Counter

from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver

TEMPORARY = b"451 try again later"


class MailSession(LineReceiver):
    """One connection of SMTP (RFC 5321), as far as Python's C{smtplib} uses it."""

    factory: MailServer
    in_message = False

    def connectionMade(self) -> None:
        self.sendLine(b"220 localhost")

    def lineReceived(self, line: bytes) -> None:
        if self.in_message:
            if line == b".":
                self.in_message = False
                self.sendLine(b"250 accepted")
            return
        verb = line[:4].upper()
        if verb == b"RCPT":
            self.sendLine(self.factory.recipient(line.partition(b"<")[2].partition(b">")[0].decode()))
        elif verb == b"DATA":
            self.in_message = True
            self.sendLine(b"354 go on")
        else:
            self.sendLine(b"221 bye" if verb == b"QUIT" else b"250 localhost")


class MailServer(Factory):
    """
    Accept messages, but not each one at once.

    @ivar refusals: for each recipient, how many attempts are refused.
    @ivar attempts: for each recipient, how many attempts there were.
    """

    protocol = MailSession  # type: ignore[assignment]
    noisy = False

    def __init__(self, **refusals: int) -> None:
        self.refusals = refusals
        self.attempts: Counter[str] = Counter()

    def recipient(self, address: str) -> bytes:
        """Return the response to this recipient."""
        self.attempts[address] += 1
        refused = self.attempts[address] <= self.refusals.get(address.partition("@")[0], 0)
        return TEMPORARY if refused else b"250 accepted"
