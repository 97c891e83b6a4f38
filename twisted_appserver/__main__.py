"""
The command C{appserver}, also C{python -m twisted_appserver}. It is equivalent to C{twistd -n appserver}, but
serves the example only if C{--example} is given.
"""

from __future__ import annotations

import sys

from twisted.application.app import run
from twisted.python.runtime import platformType
from twisted.scripts.twistd import runApp

from twisted.plugins.appserver_plugin import appserver
from twisted_appserver.serving.command_options import StandaloneOptions


class AppserverOptions(StandaloneOptions):
    """The options of twistd; this command sets some of them itself."""

    plugin = appserver


def main() -> None:
    """Run twistd in the foreground and without a pidfile."""
    arguments = ["--nodaemon"] if platformType == "win32" else ["--nodaemon", "--pidfile="]
    sys.argv[:] = ["twistd", *arguments, "appserver", *sys.argv[1:]]
    run(runApp, AppserverOptions)


if __name__ == "__main__":
    main()
