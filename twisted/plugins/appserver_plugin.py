"""Shows L{twisted_appserver.serving.tap} to twistd."""

from twisted.application.service import ServiceMaker

appserver = ServiceMaker(
    "twisted_appserver",
    "twisted_appserver.serving.tap",
    "A JSON network service of plain Python functions, in threads or processes.",
    "appserver",
)
