"""The twistd plugin for L{twisted_appserver.tqueue.tap}."""

from twisted.application.service import ServiceMaker

tqueuesrv = ServiceMaker(
    "tqueuesrv",
    "twisted_appserver.tqueue.tap",
    "Task queues over HTTP, like queue.Queue, for workers on several hosts.",
    "tqueuesrv",
)
