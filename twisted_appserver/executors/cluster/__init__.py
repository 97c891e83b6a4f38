"""Calls performed on a Dask cluster (extra C{cluster}), for functions that outgrow one machine.

A module may import only modules above it in this list:

  - wire: how calls and replies travel to the cluster and back
  - worker_lifespans: the lifespans that a worker of the cluster has entered
  - task: the function that Dask's workers run
  - run_once: a plugin of Dask's scheduler that lets each task begin only once
  - connection: the connection to a scheduler, or a cluster on this machine
  - executor: distributes calls to tasks of Dask
"""
