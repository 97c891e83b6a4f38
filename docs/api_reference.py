"""
The reference that pydoctor makes from docstrings: which modules are public, and what describes an option.

All other modules are private: pydoctor shows them if the reader switches them on.
"""

from __future__ import annotations

import re
from dataclasses import fields

from pydoctor import model
from twisted.python.reflect import namedAny
from zope.interface.interface import InterfaceClass

from twisted_appserver.settings import Settings

PUBLIC = {
    f"twisted_appserver{name}"
    for name in (
        "", ".client", ".jobs", ".settings", ".testing", ".tqueue", ".tqueue.client",
        ".tqueue.client.async_queue", ".tqueue.client.errors", ".tqueue.client.queue", ".tqueue.client.trace",
        ".tqueue.transactions", ".tqueue.worker",
    )
}  # fmt: skip


class System(model.System):
    """Make the public modules public, and give each option its help text as a docstring."""

    def privacyClass(self, ob: model.Documentable) -> model.PrivacyClass:
        if ob.module.fullName() not in PUBLIC:
            return model.PrivacyClass.PRIVATE
        return super().privacyClass(ob)

    def postProcess(self) -> None:
        super().postProcess()
        described = self.allobjects["twisted_appserver.settings.Settings"].contents
        for option in fields(Settings):
            text, _, default = option.metadata["help"].partition(" [")
            described[
                option.name
            ].docstring = f"{text}. Default: {default.rstrip(']') or repr(option.default)}."
            described[option.name].docstring_lineno = described[option.name].linenumber


def with_links(text: str) -> str:
    """Return the page of public names with a link from each name to its place in the reference."""

    def link(found: re.Match[str]) -> str:
        place, _, name = f"twisted_appserver.{found[1]}".rpartition(".")
        page = "index" if place == "twisted_appserver" else place
        if isinstance(namedAny(f"{place}.{name}"), type | InterfaceClass):
            target = f"{place}.{name}.html"
        else:
            target = f"{page}.html#{name}"
        return f'<a href="../api/{target}"><code>{found[1]}</code></a>'

    return re.sub(r"(?m)^\| (`.*?) \|", lambda cell: re.sub(r"`([\w.]+)`", link, cell[0]), text)
