"""What people use in their functions, tried in every type of server.

- L{functions}: small functions, one for each library or habit, and what each must answer;
    an application too.
- L{servers}: the real servers on which they are called.
- L{page}: makes docs/works-with.md from the table.
"""
