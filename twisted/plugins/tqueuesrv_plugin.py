"""Shows L{twisted_appserver.tqueue.tap} to twistd."""

from twisted.application.service import ServiceMaker

tqueuesrv = ServiceMaker(
    "tqueuesrv",
    "twisted_appserver.tqueue.tap",
    "Network task queues: the functions of queue.Queue over HTTP, for workers on several hosts.",
    "tqueuesrv",
)
