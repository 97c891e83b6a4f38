"""Puts TQueueSrv over PostgreSQL under pressure: two servers, clients that record their steps, disturbances.

C{python -m tests.tqueue.pressure} runs L{scenarios.SCENARIOS} one after the other and prints a line for each.

  - pace: when the producers of a process may put, and how much
  - load_process: producers and consumers, the threads of one process
  - load: all these processes
  - rates: tasks done per second, by the records of the consumers
  - dead_rows: dead rows in the tables of a database, over time
  - other_work: processors that processes of others use, over time
  - stage: database, servers and load of one scenario
  - chaos: disturbances that break connections, servers or the database
  - cells: disturbances that add work, or keep transactions open
  - scenarios: the table of all disturbances
  - outcome: what was measured, and whether the scenario passes
  - run: one scenario, from steady load to the check of all records
  - picture: draws rates and dead rows
"""
