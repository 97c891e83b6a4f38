"""
The tests, laid out like the package: C{trial tests}.

  - support: applications that tests serve, servers that they start, and tables of cases
  - works_with: what people use in functions, tried in every executor
  - faults: servers under load while things break, and mutations of the source
"""
