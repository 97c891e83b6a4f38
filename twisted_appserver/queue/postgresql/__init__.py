"""Queues in PostgreSQL, which several servers share.

The SQL is in files: C{migrations/} has the tables, C{perform_requests.sql} the functions that each
connection defines (with C{perform_batches.sql} and others), C{transaction.sql} and
C{schema.sql} the statements.

A module may import only modules above it in this list:

  - request: what the broker passes to its store, and the result
  - request_counts: how many requests have succeeded
  - schema: creates and migrates the tables, deletes expired rows
  - heartbeat: records that a server is alive, and prolongs leases after an outage
  - poolers: refuses connection poolers in transaction mode
  - connection_watchdog: aborts a connection that has stopped answering
  - locked_queue: one queue in a transaction that holds its lock
  - outbox: moves the tasks that programs put in their own transactions into the queues
  - frequent_requests: performs done, put and get in one statement
  - batch_requests: performs requests about many tasks
  - other_requests: performs all other requests
  - transaction: performs many requests in one transaction
  - connection: opens a connection with its settings and functions
  - database_check: checks a database without changing it
  - dead_rows: rewrites tables that have many dead rows
  - wakeup_socket: wakes a thread that waits for sockets
  - database: the connection of one server, made again when it is lost
  - session: the store, and its thread
  - paced_gets: gets that wait because of the rate of their queue
  - pending_requests: the requests of one server that wait or are being performed
  - outbox_requests: the requests of a server that move such tasks
  - many_requests: requests about many tasks, as one request for each
  - result_waiters: requests that wait for the end of a task
  - known_deletions: the deletions of queues that a server knows
  - snapshots: the figures of all queues, for pages and metrics
  - repeated_calls: functions that are called again and again
  - broker: the queues, for the clients of one server
"""
