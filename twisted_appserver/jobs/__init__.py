"""Background calls, whose clients do not wait. Functions put them with L{put}.

A module may import only modules above it in this list:

  - documents: what clients see of jobs
  - idempotency: requests that clients may repeat
  - repeating: repeats the call of a job that has failed
  - interface: what jobs promise, wherever they are kept
  - no_jobs: refuses jobs in a service without them
  - waiting_client: a client that waits for the end of a job
  - retrying: when a job that has failed is tried again
  - job: one job that runs here, with its state, progress and result
  - route_queues: the queue of each route
  - job_limits: how many jobs in memory run at the same time, and how often they begin
  - scheduler: calls functions at the times of their routes
  - memory_jobs: the jobs of a server in its memory
  - stored_call: calls and replies as they are stored
  - job_tasks: the jobs of tasks in queues
  - run: one stored job that runs here
  - slots: how many jobs run at the same time
  - job_ends: stores the ends of jobs
  - recovery: the jobs of processes that have ended
  - performer: takes jobs from the queues, performs them and stores their ends
  - scheduled_calls: the next call of each schedule, which waits in a store
  - stored_keys: requests that clients may repeat, whose jobs are in a store
  - stored_limits: the limits of routes as options of queues
  - stored_list: finds the jobs in a store
  - stored_jobs: the jobs in a store
  - put_jobs: takes the jobs that functions put
"""

from twisted_appserver.core.enqueueing import EnqueuedJob, JobOptions, put, put_async, with_options

__all__ = ["EnqueuedJob", "JobOptions", "put", "put_async", "with_options"]
