"""Queues that live in this process.

A module may import only modules above it in this list:

  - journal: what every store promises
  - memory_journal: keeps nothing
  - sqlite_file: refuses databases of other applications
  - sqlite_journal: a journal in SQLite
  - broker: the queues of one server, and the requests that wait
"""
