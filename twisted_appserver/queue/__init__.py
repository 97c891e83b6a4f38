"""The queue engine: queues, leases and stores. It contains no HTTP and no routes.

A module may import only modules above it in this list:

  - request_keys: recognizes requests that are sent again
  - terms: what applies to one task instead of the options of its queue, and its pause after a failure
  - unique_keys: which tasks that wait or run have the unique keys of a queue
  - lifetimes: when the time to live of waiting tasks ends
  - arrivals: finds the oldest of the ready tasks
  - groups: the groups of tasks, and which of the tasks have a place
  - config: the options of a queue
  - pace: when a queue with a rate may hand out its next task
  - paging: places in the order of tasks
  - queued_task: one task
  - ready_tasks: the tasks that can be handed out, in order
  - model: one queue with its tasks and leases, without I/O
  - existing_task: the result of a put whose unique key is taken
  - stored_options: changes the options of a queue, and reads stored ones
  - task_ids: the signed ids by which clients name tasks
  - task_result: the result of a task
  - attempt: the record of an attempt to perform a task
  - task_documents: the documents that describe tasks
  - attempt_durations: how long attempts have taken
  - waiters: requests that wait, in order of arrival
  - sql_files: reads SQL from files
  - clock: a reactor clock that never jumps
  - store_health: whether a store works
  - batching: collects changes for one commit
  - interface: what every broker promises, and the errors it raises
  - same_errors: kicks all buried tasks that have failed with the same error
  - local: queues in this process, with a journal in memory or SQLite
  - postgresql: queues in a database that several servers share
  - backends: opens the store of an option and makes its broker
"""
