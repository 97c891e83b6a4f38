"""Queues of one server, in memory, with a journal that keeps them.

A module may import only modules above it in this list:

  - journal: the interface of every store, and the changes that a broker writes to it
  - memory_journal: keeps nothing
  - sqlite_file: refuses files and databases of other applications
  - sqlite_rows: tasks as rows of a file of SQLite
  - sqlite_statements: statements about many rows at once
  - sqlite_results: the results of tasks in a file of SQLite
  - taken_keys: unique keys that are taken beyond the end of tasks, in a file of SQLite
  - sqlite_journal: a journal in SQLite
  - storing: waits until a change is stored
  - repeated_requests: recognizes requests that are sent again with the same key
  - local_queue: a queue with the requests that wait for it
  - queue_table: all queues by name
  - expiry: ends leases and delays in time, and serves waiting requests after each change
  - unique_puts: adds tasks that have unique keys
  - puts: adds tasks
  - results: waits for the end of tasks
  - batches: adds many tasks with one commit
  - leases: leases tasks, and performs the requests of workers about leased tasks
  - batch_leases: leases many tasks with one commit
  - endings: finishes tasks
  - single_tasks: requests about one task in any state
  - broker: the queues, for the clients of one server
"""
