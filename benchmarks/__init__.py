"""
Compares the speed of this package with alternatives.  Run as C{python -m benchmarks --help}.

    - L{benchmarks.peers}: the table of servers
    - L{benchmarks.workloads}: the table of workloads
    - L{benchmarks.environment}: the virtual environment of all servers
    - L{benchmarks.machine}: cores, load and description of the machine
    - L{benchmarks.launcher}: one running server
    - L{benchmarks.checks}: whether a response is right, and its function ran in the right place
    - L{benchmarks.load}: wrk
    - L{benchmarks.idle}: ten thousand idle connections
    - L{benchmarks.measure}: one measurement of each kind
    - L{benchmarks.rounds}: rounds in which all servers take turns
    - L{benchmarks.results}: the file of results, merged over partial runs
    - L{benchmarks.report}: tables in Markdown
    - L{benchmarks.plot}: the chart
    - L{benchmarks.scaling}, L{benchmarks.postgresql}, L{benchmarks.background}: the tables of docs/scaling.md
    - L{benchmarks.scaling_page}: writes these tables

The applications of the servers are in C{servers/}, one small file each.
"""
