"""C{python -m twisted_appserver.tqueue.command}, the command C{tqueue}."""

import sys

from . import main

sys.exit(main())
