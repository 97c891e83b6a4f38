"""
The functions of a service as tools of AI assistants: the Model Context Protocol over HTTP.

The protocol is stateless: each POST contains one message and gets one response, so nothing is kept for a
client except its running calls. Clients of earlier revisions, which begin with a handshake, are served in the
same way. This package is imported with the first request for C{/-/mcp}, and only if functions are tools.

A module may import only modules above it in this list:

  - messages: the messages of the protocol, and their checks
  - tool_schemas: the JSON schemas of arguments and results
  - tools: the functions of a table that are tools, and their descriptions
  - tool_results: the reply of a function as the result of a tool
  - tool_call: one call of a tool, on its way through the dispatcher
  - endpoint: answers the messages
"""
