"""Tests of a server under load and random faults.

- L{application}: functions that misbehave in many ways, and record each of their runs in a file
- L{repeating_threads}: threads that repeat something until they are stopped
- L{load}: clients that number their requests and record one outcome for each
- L{fault_injector}: random faults of the server, its workers and its clients
- L{soak}: traffic of every other kind, and the memory of the server
- L{run}: runs all of these and compares the records: C{python -m tests.faults --minutes 10 --seed 7}
- L{mutations}: removes protections, and expects a test to fail
"""
