"""
Authentication and request checks. These checks happen before a function is chosen.

A module may import only modules above it in this list:

  - private_files: reads files with secrets, if no other user can change them
  - proxies: the proxies whose C{Forwarded} headers are trusted
  - origins: parses the hosts and origins given as options
  - request_guard: checks Host and Origin, and answers CORS preflight requests
  - passwords: hashed passwords in a file
  - credentials: bearer tokens and passwords
"""
