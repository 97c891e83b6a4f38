"""Queues in PostgreSQL, which several servers share.

The SQL is in files: C{migrations/} has the tables, C{perform_requests.sql} the functions that each connection
defines (with C{perform_batches.sql}), C{transaction.sql} and C{schema.sql} the statements.

A module may import only modules above it in this list:

  - request: what the broker passes to its store, and the result
  - schema: creates and migrates the tables, deletes expired rows
  - heartbeat: records that a server is alive, and prolongs leases after an outage
  - poolers: refuses connection poolers in transaction mode
  - connection_watchdog: aborts a connection that has stopped answering
  - locked_queue: one queue in a transaction that holds its lock
  - frequent_requests: performs done, put and get in one statement
  - batch_requests: performs requests about many tasks
  - other_requests: performs all other requests
  - transaction: performs many requests in one transaction
  - connection: opens a connection with its settings and functions
  - wakeup_socket: wakes a thread that waits for sockets
  - database: the connection of one server, made again when it is lost
  - session: the store, and its thread
  - pending_requests: the requests of one server that wait or are being performed
  - result_waiters: requests that wait for the end of a task
  - broker: the queues, for the clients of one server
"""
