"""Valid and invalid requests that gunicorn has collected, sent to our connection.

They are read from gunicorn's source distribution, which pip downloads. None of its code runs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile

from twisted.trial.unittest import SynchronousTestCase

from tests.support.channel_memory import Talk, talk
from tests.support.slow import slow

GUNICORN = "gunicorn==27.0.1"
ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[rnt0])")
ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0"}

# Requests that gunicorn refuses and we accept, with the reason.
ACCEPTED = {
    "006": "the path has less than 8,192 bytes",
    "007": "the headers have less than 16,384 bytes",
    "008": "the headers have less than 16,384 bytes",
    "040": "gunicorn's setting header_map: an underscore is good in a name (RFC 9110, section 5.6.2)",
    "041": "two Content-Types: up to the application",
    "limit_header_default_01": "the headers have less than 16,384 bytes",
    "rfc9112_target_non_ascii_02": "UTF-8 in a target, as curl sends it",
    "rfc9112_leading_crlf_02": "empty lines before a request may be passed over (RFC 9112, section 2.2)",
}
UNFINISHED = {  # a time limit ends them
    "001": "a head without its end",
    "rfc9112_chunked_missing_final_crlf_01": "a body in chunks without its end",
}
# Requests that gunicorn accepts and we refuse.
MALFORMED = "this is no Host (RFC 9110, section 4.2.2)"
CODING = "only chunked is implemented (RFC 9112, section 6.1)"
SPELLING = "a method that llhttp does not know"
FOLDED = "gunicorn's setting permit_obsolete_folding (RFC 9112, section 5.2)"
PROXIED = "gunicorn's setting proxy_protocol"
REFUSED = {
    "rfc9112_target_absolute_userinfo_01": "userinfo (RFC 9110, section 4.2.4)",
    "002": MALFORMED,
    "003": MALFORMED,
    "005": "a target has no fragment (RFC 9112, section 3.2)",
    "013": "llhttp takes no spaces beside the semicolon of a chunk extension (bad ones, RFC 9112, 7.1.1)",
    "025": CODING,
    "025_line": CODING,
    "028": "gunicorn's setting strip_header_spaces (RFC 9112, section 5.1)",
    "029": CODING,
    "030": CODING,
    "031": SPELLING,
    "031compat": SPELLING,
    "031compat2": SPELLING,
    "099": "its body ends before its Content-Length: there is no answer yet",
    "compat_obs_fold": FOLDED,
    "compat_obs_fold_huge": FOLDED,
    "pp_01": PROXIED,
    "pp_02": PROXIED,
    "pp_04": PROXIED,
    "pp_05": PROXIED,
    "rfc9112_smuggle_gzip_chunked_01": CODING,
    "rfc9112_smuggle_te_identity_chunked_01": CODING,
}


def unescape(text: bytes) -> bytes:
    r"""Return the bytes of a file: line ends are ignored, and C{\r}, C{\0}, C{\x0a} are replaced."""

    def byte(found: re.Match[bytes]) -> bytes:
        return ESCAPES.get(found[1]) or bytes.fromhex(found[1][1:].decode())

    return ESCAPE.sub(byte, text.replace(b"\n", b""))


class CorpusTests(SynchronousTestCase):
    """Our connection accepts and refuses what gunicorn does, except for the cases in the lists above."""

    cases: dict[str, dict[str, bytes]] = {}

    def corpus(self, kind: str) -> dict[str, bytes]:
        if not self.cases:
            folder = self.mktemp()
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
            command += ["--no-deps", "--no-binary", ":all:", "--dest", folder, GUNICORN]
            done = subprocess.run(command, capture_output=True, text=True, timeout=100)
            self.assertEqual(done.returncode, 0, done.stderr)
            (name,) = os.listdir(folder)
            with tarfile.open(os.path.join(folder, name)) as archive:
                for member in archive:
                    found = re.search(r"/tests/requests/(\w+)/(\w+)\.http$", member.name)
                    file = archive.extractfile(member) if found else None
                    if found and file:
                        self.cases.setdefault(found[1], {})[found[2]] = unescape(file.read())
        return self.cases[kind]

    def ways(self, data: bytes) -> tuple[Talk, Talk]:
        """Send the data at once, and byte by byte."""
        return talk([data]), talk([data[i : i + 1] for i in range(len(data))])

    @slow
    def test_every_invalid_request_is_refused(self) -> None:
        """The connection is closed, and no function is called."""
        wrong, unfinished = [], []
        for name, data in self.corpus("invalid").items():
            for talked in self.ways(data):
                if not talked.answers and not talked.closed:
                    unfinished.append(name)
                elif not talked.closed or not 400 <= talked.answers[-1].status < 600:
                    wrong.append(name)
                elif len(talked.calls) != len(talked.answers) - 1:
                    wrong.append(f"{name}: {talked}")
        self.assertEqual(sorted(set(wrong)), sorted(ACCEPTED))
        self.assertEqual(sorted(set(unfinished)), sorted(UNFINISHED))

    @slow
    def test_every_valid_request_is_answered(self) -> None:
        """Requests of HTTP/1.1 without a Host are tried again with one (RFC 9112, section 3.2)."""
        wrong = []
        for name, data in self.corpus("valid").items():
            for each in self.ways(data):
                talked = each
                if talked.answers and "missing Host" in talked.answers[-1].body.decode("latin-1"):
                    talked = talk([data.replace(b" HTTP/1.1\r\n", b" HTTP/1.1\r\nHost: localhost\r\n")])
                if not talked.answers or any(answer.status >= 400 for answer in talked.answers):
                    wrong.append(name)
        self.assertEqual(sorted(set(wrong)), sorted(REFUSED))

    @slow
    def test_corpus_has_143_cases(self) -> None:
        self.assertEqual(len(self.corpus("invalid")) + len(self.corpus("valid")), 143)
