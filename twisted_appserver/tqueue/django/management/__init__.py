"""
The commands that the application adds to C{manage.py}.

  - commands: one module for each
"""
