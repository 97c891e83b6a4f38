"""The queue engine: queues, leases and stores. It contains no HTTP and no routes.

A module may import only modules above it in this list:

  - request_keys: recognizes requests that are sent again
  - model: one queue with its tasks and leases, without I/O
  - task_result: the result of a task
  - attempt: the record of an attempt to perform a task
  - waiters: requests that wait, in order of arrival
  - sql_files: reads SQL from files
  - clock: a reactor clock that never jumps
  - store_health: whether a store works
  - batching: collects changes for one commit
  - interface: what every broker promises, and the errors it raises
  - local: queues in this process, with a journal in memory or SQLite
  - postgresql: queues in a database that several servers share
  - backends: opens the store of an option and makes its broker
"""
