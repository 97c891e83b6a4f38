"""
How fast this is, beside what else a user would pick.  Run as C{python -m benchmarks --help}.

    - L{benchmarks.peers}: the table of servers
    - L{benchmarks.workloads}: the table of what is asked of them
    - L{benchmarks.environment}: the virtual environment that they all run in
    - L{benchmarks.machine}: cores, how busy the machine is, what it is called
    - L{benchmarks.launcher}: one running server
    - L{benchmarks.checks}: is the answer right, and made where it is said to be
    - L{benchmarks.load}: wrk
    - L{benchmarks.idle}: ten thousand connections that do nothing
    - L{benchmarks.measure}: one measurement of each kind
    - L{benchmarks.rounds}: all servers in turn, several times
    - L{benchmarks.results}: the file of figures, merged over partial runs
    - L{benchmarks.report}: tables in Markdown
    - L{benchmarks.plot}: the picture

The applications of the servers are in C{servers/}, one small file each.
"""
