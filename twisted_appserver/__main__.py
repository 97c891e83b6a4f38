"""
The command C{appserver}, also C{python -m twisted_appserver}. It is equivalent to C{twistd -n appserver}, but
serves the example only if C{--example} is given.
"""

from __future__ import annotations

import os
import sys

from twisted.application.app import run
from twisted.python.runtime import platformType
from twisted.scripts.twistd import runApp

from twisted.plugins.appserver_plugin import appserver
from twisted_appserver.serving.command_options import StandaloneOptions


class AppserverOptions(StandaloneOptions):
    """The options of twistd, of which this command sets some itself."""

    plugin = appserver


def main() -> None:
    """Run twistd in the foreground and without a pidfile."""
    arguments = ["--nodaemon"] if platformType == "win32" else ["--nodaemon", "--pidfile="]
    given = sys.argv[1:]
    if "cluster" in given or "--type=cluster" in given or os.environ.get("APPSERVER_TYPE") == "cluster":
        arguments.append("--reactor=asyncio")  # Dask needs it; the reactor must be chosen first
    sys.argv[:] = ["twistd", *arguments, "appserver", *given]
    run(runApp, AppserverOptions)


if __name__ == "__main__":
    main()
