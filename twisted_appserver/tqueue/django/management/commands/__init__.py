"""
One module for each command.

  - tqueue_work: the worker
"""
