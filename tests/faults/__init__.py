"""A server under load and faults, and the books that are checked afterwards.

- L{core.application}: functions of every bad habit, which note each of their runs in a file.
- L{support.load}: clients, each of whose requests has a number of its own and one outcome.
- L{mischief}: what is done to the server and its workers meanwhile.
- L{run}: all of it, for a time, and the check of the books: C{python -m tests.faults --minutes 10 --seed 7}.
"""
