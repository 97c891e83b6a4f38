"""TQueueSrv, a network task queue: the functions of C{queue.Queue} over HTTP, for workers on several hosts.

The server, an ordinary application of L{twisted_appserver}:

  - L{core.routes}: the requests, as url_patterns; L{broker} answers them.
  - L{queues}: one queue, pure; L{lines}: those who wait.
  - L{stores}: where tasks are kept.
  - L{serving.tap}: twistd's view of it.

Its clients:

  - L{client}: Queue, LifoQueue and PriorityQueue, blocking, on the standard library alone.
  - L{requests}: keys, addresses and when to repeat a request, without I/O; L{receipts}: the tasks it holds.
  - L{items}: how any item becomes a task's fields; L{connections}: the client's HTTP.
  - L{forks}: what happens to a client in a forked process.
  - L{asynchronous}: AsyncQueue, over treq.
  - L{command}: the command line; L{work} runs a function over tasks.
"""

from twisted_appserver.tqueue.wire import url_patterns

__all__ = ["url_patterns"]
