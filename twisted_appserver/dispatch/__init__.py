"""The one path that every call takes.

A module may import only modules above it in this list:

  - retry_after: how long a rejected client should wait
  - time_limits: time limits of many calls with one timer
  - keep_alive: comments that keep a silent event stream open
  - unstarted_log: what a program prints if it has not started Twisted's log
  - failures: replies to rejected calls, and log entries about functions that failed
  - calls_in_flight: cancels calls, keeps their time limits, and counts them
  - background_calls: calls whose clients do not wait for the reply
  - dispatcher: guard, route, limit, submit, observe
  - arriving_calls: calls that begin before their bodies have arrived
  - start_notes: warnings about a table, logged at the start
  - lifespans: enters and leaves the lifespans of this process
"""
