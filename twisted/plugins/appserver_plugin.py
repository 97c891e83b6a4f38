"""The twistd plugin for L{twisted_appserver.serving.tap}."""

from twisted.application.service import ServiceMaker

appserver = ServiceMaker(
    "twisted_appserver",
    "twisted_appserver.serving.tap",
    "An application server: calls Python functions over HTTP, in threads or processes.",
    "appserver",
)
