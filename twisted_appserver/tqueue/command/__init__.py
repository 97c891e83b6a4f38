"""
The command C{tqueue}.

A module may import only modules above it in this list:

  - output: JSON and tables on standard output
  - error_messages: errors as one line, with the URL of the server
  - task_fields: the fields of a task, as typed
  - verb: the parts that all verbs share
  - put_verb: C{put}
  - task_verbs: C{get}, C{done} and others about single tasks
  - queue_verbs: C{queues}, C{stats}, C{peek} and others about whole queues
  - work_verb: C{work}
  - parser: reads the command line, and prints help
  - run_verb: runs a verb, and turns its outcome into an exit status
  - main: the entry point, which imports little
"""

from .main import main

__all__ = ["main"]
