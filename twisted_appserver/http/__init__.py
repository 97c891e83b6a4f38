"""HTTP/1.1 connections, and the application as a C{twisted.web} resource.

A module may import only modules above it in this list:

  - response_head: status lines and headers, built once for equal responses
  - epoll_reader: reads many connections with an epoll of its own
  - half_close_in_other_sites: keeps half-closed connections open in Sites other than ours
  - compression: compresses responses for clients that accept it
  - stored_body: a body that C{twisted.web} has received, for a function that reads it in parts
  - app_resource: the application as a resource below any path of any Site
  - request_parser: parses requests with llhttp, and checks them
  - known_requests: request heads that were seen before, and need not be parsed again
  - unsent_data: data that a client has not taken yet
  - response_writer: writes responses, whole or streamed
  - current_call: the call that a connection is performing
  - arriving_body: a request whose function reads the body while it arrives
  - base_connection: the common base of both kinds of connections; serves half-closed clients
  - connection: HTTP/1.1 over llhttp
  - stock_connection: C{twisted.web}'s own connection with the same limits
  - site: the connections of a server, and their shared state
"""
