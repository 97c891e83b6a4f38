"""Queues in PostgreSQL, shared by several servers.

A module may import only modules above it in this list:

  - request: what a broker asks of its store
  - schema: tables, migrations and vacuum settings
  - statements: the statements for put, get and done
  - poolers: refuses connection poolers in transaction mode
  - watch: aborts a database connection that hangs
  - transaction: many requests in one transaction
  - session: the connection to the database, and its thread
  - broker: the requests of one server
"""
