"""Worker processes: started early, supplied with calls, watched, and replaced.

A module may import only modules above it in this list:

  - frames: the messages between the server and a worker process
  - resident_memory: the memory of a process
  - progress: shared memory in which a worker process records its progress
  - python_process: starts processes that run a module of this package
  - server_watchdog: ends a worker process whose server is gone
  - signal_state: undoes a function's changes to signals
  - worker_channel: the connection of a worker process to its server
  - received_body: the body of a call while it arrives, as a worker process reads it
  - worker_jobs: C{jobs.put} in a worker process
  - worker_main: the program of a worker process
  - frame_writer: writes frames to a worker process
  - worker_output: logs the output of a worker process
  - assigned_calls: the calls that a worker process has been given and has not answered
  - worker_streams: the replies that a worker process sends in parts
  - sent_bodies: the bodies that a worker process reads while they arrive, as the server sends them
  - worker_exit: how and when a worker process has ended
  - job_requests: answers worker processes that put jobs
  - worker_process: a worker process, as the server sees it
  - head_start: workers that import the application while the server does
  - pool: starts, replaces and stops worker processes
  - executor: distributes calls to the pool
"""
