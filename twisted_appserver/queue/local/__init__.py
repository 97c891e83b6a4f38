"""Queues of one server, in memory, with a journal that keeps them.

A module may import only modules above it in this list:

  - journal: the interface of every store, and what a broker writes to it
  - memory_journal: keeps nothing
  - sqlite_file: refuses files and databases of other applications
  - sqlite_journal: a journal in SQLite
  - storing: waits until a change is stored
  - repeated_requests: recognizes requests that are sent again with the same key
  - local_queue: a queue with the requests that wait for it
  - queue_table: all queues by name
  - upkeep: serves waiting requests after each change, and ends leases in time
  - puts: adds tasks
  - leases: leases tasks, and ends leases
  - broker: the queues, for the clients of one server
"""
