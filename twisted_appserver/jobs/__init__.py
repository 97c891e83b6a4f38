"""Background calls, whose clients do not wait.

A module may import only modules above it in this list:

  - job: one job with its state, progress and result
  - registry: all jobs of a server, and the requests about them
"""
