"""Calls and functions. Nothing here imports Twisted, does I/O or starts a thread.

A module may import only modules above it in this list:

  - shadowed_modules: files of an application that hide modules of the standard library
  - import_errors: the file, the line and the reason if an application cannot be imported
  - application: the user's C{url_patterns}, importable by name here and in worker processes
  - application_info: the title, version and description of the application
  - upload: a file from a multipart form
  - multipart_form: reads and writes forms with files
  - lifespan: the code that a process runs before its first call and after its last one
  - invalid_json: why a JSON document cannot be read
  - request_data: query strings, bodies and request ids
  - call: L{call.Call} and L{call.Reply}
  - request_target: the request target and the Host header (RFC 9112, section 3.2)
  - conversions: from text and JSON to the annotated types of parameters
  - arguments: how variables become the arguments of a function
  - wrapping: decorators around the functions below a prefix
  - handler: a function of the table, and how a call runs it
  - headers: response headers that functions return, checked and converted
  - statuses: titles of HTTP status codes
  - json_encoding: encodes the results of functions as JSON
  - problem_reply: problem documents, the responses for errors
  - error_page: problem documents as web pages, for browsers
  - error_advice: advice for errors that depend on where a function runs
  - forked_child: ends a process that a function has forked, when the function returns there
  - events: server-sent events
  - streaming: the parts that a generator yields
  - perform: run the function of a call and return its reply
  - python_logging: passes on the records of Python's C{logging} module
  - regex_syntax: parsed regular expressions
  - regex_graph: a regular expression as an automaton
  - strong_components: strongly connected components of a graph
  - regex_safety: finds patterns that are prone to catastrophic backtracking
  - pattern_compiler: compiles patterns with C{re} or RE2
  - mounted_resource: Twisted resources in a table
  - routes: C{Route} and C{include}
  - route_problems: entries that cannot work
  - router: finds the function for a path
  - slash_redirect: redirects to a path that differs by its trailing slash only
  - route_table: the table as text, and the entry closest to a path
"""
