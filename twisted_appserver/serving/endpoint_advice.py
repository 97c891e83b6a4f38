"""Explains why an endpoint of C{--listen} cannot be used, and what to write instead."""

from __future__ import annotations

import os
import re
import stat

from twisted_appserver.closest_name import closest

SEPARATOR, EQUALS = re.compile(r"(?<!\\):"), re.compile(r"(?<!\\)=")  # in the description of an endpoint
# A URL, or host:port.
ADDRESS = re.compile(r"(?:(https?)://)?(localhost|[\d.]*|\[[\w:.]+\]|[\w-]+\.[\w.-]+):(\d+)/?")
# The options of each kind of endpoint; the first may be given without its name.
OPTIONS = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "interface", "backlog"),
    "ssl": ("port", "interface", "backlog", "privateKey", "certKey", "extraCertChain", "sslmethod",
            "dhParameters", "caCertsDir"),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "systemd": ("domain", "index", "name"),
}  # fmt: skip
EXAMPLES = {
    "tcp": "tcp:8080",
    "tcp6": "tcp6:8080",
    "ssl": "ssl:8443:privateKey=key.pem:certKey=cert.pem",
    "unix": "unix:/run/app.sock",
    "systemd": "systemd:domain=INET:index=0",
}
MAX_PATH = 107  # bytes of the path of a unix socket: the sun_path of Linux without its final zero
MAX_PORT = 65535
DOMAINS = ("INET", "INET6", "UNIX")


def read_arguments(text: str) -> tuple[str, list[str], dict[str, str]]:
    """Return the kind of an endpoint, its positional arguments, and its named ones."""
    kind, *arguments = SEPARATOR.split(text)
    named = dict(each.split("=", 1) for each in arguments if EQUALS.search(each))
    return kind, [each for each in arguments if not EQUALS.search(each)], named


def endpoint_problem(text: str) -> str:
    """Return what is wrong with the description of an endpoint; empty if no mistake is known."""
    kind, positional, named = read_arguments(text.removeprefix("haproxy:"))
    known = OPTIONS.get(kind)
    if known is None:
        return ""
    for name in named:
        if name not in known:
            near = closest(name, known)
            return f"{kind}: has no option {name!r}; " + (
                f"did you mean {near!r}?" if near else f"use {', '.join(known)}"
            )
    values = dict(zip(known, positional, strict=False)) | named
    if known[0] != "domain" and not values.get(known[0]):
        return f"{kind}: needs {'a port' if known[0] == 'port' else 'a path'}, such as {EXAMPLES[kind]}"
    for name in ("port", "backlog", "index"):
        if not values.get(name, "0").isdecimal():
            return f"the {name} must be a number, not {values[name]!r}"
    if int(values.get("port", 0)) > MAX_PORT:
        return f"the port must be at most {MAX_PORT}, not {values['port']}"
    if not re.fullmatch("[0-7]{3,4}", values.get("mode", "660")):
        return f"the mode must be octal, such as 660, not {values['mode']!r}"
    if kind == "systemd" and values.get("domain") not in DOMAINS:
        return f"the domain must be {', '.join(DOMAINS)}, not {values.get('domain')!r}"
    if kind == "systemd" and not values.keys() & {"index", "name"}:
        return f"systemd: needs an index or a name, such as {EXAMPLES['systemd']}"
    return ""


def explain_endpoint_error(text: str, error: Exception) -> str:
    """
    Return why Twisted cannot use the description of an endpoint.

    @param error: what C{serverFromString} raised.
    """
    if isinstance(error, LookupError) and text.startswith("systemd:"):  # sd_listen_fds(3)
        _, _, named = read_arguments(text)
        which = f"named {named['name']!r}" if "name" in named else f"with the index {named.get('index', '0')}"
        return f"systemd has passed no socket {which}; start the service through its .socket unit"
    if isinstance(error, OSError) and error.filename:  # a key or a certificate
        missing = "" if "privateKey" in text else "; name the key and the certificate: " + EXAMPLES["ssl"]
        return f"{os.fsdecode(error.filename)}: {error.strerror}{missing}"
    if "Unknown endpoint type" not in str(error):
        return str(error)
    if text.isdecimal():
        return f"write tcp:{text}"
    if found := ADDRESS.fullmatch(text):
        scheme, host, port = found.groups()
        kind = "ssl" if scheme == "https" else "tcp6" if host[:1] == "[" else "tcp"
        host = host.strip("[]").replace("localhost", "127.0.0.1")
        is_address = ":" in host or host.replace(".", "").isdecimal()
        return f"write {kind}:{port}" + (":interface=" + host.replace(":", "\\:") if is_address else "")
    kind = text.partition(":")[0]
    near = closest(kind, OPTIONS)
    kinds = ", ".join(f"{each}:" for each in OPTIONS)
    return f"unknown kind of endpoint {kind!r}; " + (f"did you mean {near}:?" if near else f"use {kinds}")


def socket_path_problem(path: str) -> str:
    """Return why a unix socket cannot be made at a path; empty if it can."""
    folder = os.path.dirname(os.path.abspath(path))
    if len(os.fsencode(path)) > MAX_PATH:
        return f"the path of a unix socket has at most {MAX_PATH} bytes, not {len(os.fsencode(path))}"
    if not os.path.isdir(folder):
        return f"the folder {folder} does not exist"
    if os.path.exists(path) and not stat.S_ISSOCK(os.stat(path).st_mode):
        return f"{path} exists and is not a socket"
    if not os.access(folder, os.W_OK):
        return f"the folder {folder} cannot be written"
    return ""
