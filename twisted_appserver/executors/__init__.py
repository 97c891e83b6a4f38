"""Where calls run: on the reactor, in threads, in worker processes or on a cluster.

A module may import only modules above it in this list:

  - interface: what every executor promises, and L{interface.PendingCall}
  - log_records: writes what functions log to the server's log
  - call_costs: how long calls are expected to take
  - child_processes: keeps the server's signal handlers and sockets out of processes that functions fork
  - end_of_turn: collects work until all readable sockets have been read
  - wakeup: a socket on which an idle thread waits
  - parked_generator: a generator that runs a slice at a time in any thread
  - incoming_body: the body of a request, between its connection and the function that reads it
  - reactor_lifespan: the lifespan of a server, in a thread of its own or on the reactor
  - held_calls: calls that wait until the lifespan is entered
  - stream: a reply in parts, between the generator and the client
  - file_stream: a file as the body of a reply
  - file_reply: the response to a request for a file
  - mounted_resources: renders Twisted resources on the reactor
  - blocking_log: logs functions that block the reactor
  - call_task: the asyncio task in which a coroutine runs
  - inline: on the reactor, for coroutines and functions that return Deferreds or futures
  - calling_thread: plain functions in the calling thread, for the test client
  - threads: in threads of the reactor's pool
  - processes: in spawned worker processes
  - cluster: on the workers of a Dask cluster
"""
