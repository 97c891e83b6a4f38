"""Problem documents as web pages, for browsers. Pure."""

from __future__ import annotations

import json
import re
from html import escape
from typing import Any

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.errors import PROBLEM_MEMBERS

PROBLEM = ("content-type", "application/problem+json")
VARY = ("vary", "accept")
QUALITY = re.compile(r"\s*q\s*=\s*([01](?:\.\d*)?)\s*", re.IGNORECASE)
HEADERS = (
    ("content-type", "text/html; charset=utf-8"),
    (
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    ),
    ("referrer-policy", "no-referrer"),
)
PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{heading}</title>
<style>
:root {{ color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }}
body {{ max-width: 45rem; margin: 3rem auto; padding: 0 1rem;
  background: light-dark(#f7f7f5, #14171a); color: light-dark(#1c2126, #e6e8e4) }}
h1 {{ font-size: 1.4rem }}
a {{ color: light-dark(#1a5a99, #82baf0) }}
code {{ font: .9rem ui-monospace, monospace }}
dl {{ color: light-dark(#59626b, #9fa8b0); font-size: .85rem }}
p, dd {{ white-space: pre-wrap; overflow-wrap: anywhere }}
</style>
<h1>{heading}</h1>
{rest}
</html>
"""


def prefers_html(accept: str) -> bool:
    """
    Return whether a client prefers a web page to JSON (RFC 9110, section 12.5.1).

    Browsers name C{text/html} when they open a page. Ranges such as C{*/*} do not count.
    """
    qualities: dict[str, float] = {}
    for media_range in accept.lower().split(","):
        kind, *parameters = media_range.split(";")
        weights = [float(found[1]) for each in parameters if (found := QUALITY.fullmatch(each))]
        qualities[kind.strip()] = weights[0] if weights else 1.0
    json_quality = max(qualities.get(kind, 0.0) for kind in ("application/json", PROBLEM[1]))
    return qualities.get("text/html", 0.0) > json_quality


def negotiate_error(reply: Reply, call: Call, docs: str = "") -> Reply:
    """
    Return the reply for an error as the client prefers it: a problem document becomes a web page for a
    browser. Any other reply is returned unchanged.

    @param docs: the address of the page of functions, relative to the path of the call; empty if there is
        none.
    """
    if PROBLEM not in reply.headers:
        return reply
    headers = reply.headers if VARY in reply.headers else (*reply.headers, VARY)
    accept = ",".join(value.decode("latin-1") for name, value in call.raw_headers if name == b"accept")
    page = _page(reply.body, docs) if "text/html" in accept.lower() and prefers_html(accept) else None
    if page is not None:
        return Reply(page, reply.status, (*HEADERS, *(each for each in headers if each != PROBLEM)), "")
    return Reply(reply.body, reply.status, headers, reply.traceback)


def _page(body: bytes, docs: str) -> bytes | None:
    """Return a problem document as a web page; C{None} if it is malformed."""
    try:
        document = json.loads(body)
        heading = f"{document['status']} {document['title']}"
    except (ValueError, KeyError, TypeError):  # a function has made it
        return None
    parts = [f"<p>{_text(document['detail'])}</p>"] if document.get("detail") else []
    if docs:
        where = (
            "Enter a token or a password" if document["status"] == 401 else "The functions of this service"
        )
        parts.append(f'<p><a href="{escape(docs)}">{where}</a></p>')
    extra = {name: value for name, value in document.items() if name not in PROBLEM_MEMBERS}
    patterns = extra.pop("closest_patterns", None)
    if isinstance(patterns, list):
        items = "".join(f"<li><code>{_text(each)}</code></li>" for each in patterns)
        parts.append(f"<p>The most similar patterns, for developers:</p><ul>{items}</ul>")
    if document.get("instance"):
        extra["request id"] = document["instance"]
    if extra:
        rows = [f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in extra.items()]
        parts.append(f"<dl>{''.join(rows)}</dl>")
    return PAGE.format(heading=_text(heading), rest="\n".join(parts)).encode("utf-8", "backslashreplace")


def _text(value: Any) -> str:
    return escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
