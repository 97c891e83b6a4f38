"""The tests: C{trial tests}.

- L{cases}: functions and calls that every executor must answer alike; L{http_cases}: requests and answers
  that every front end must give alike.
- L{wire}: raw HTTP/1.1 over TCP; L{programs}: real processes; L{properties}: settings of hypothesis.
"""
