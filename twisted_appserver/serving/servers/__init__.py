"""
Several server processes that share the addresses of a service, under a supervisor (C{--servers}).

The supervisor opens the listening sockets and keeps them open, but accepts no connection. Its servers inherit
the sockets. So no connection is lost when a server dies or is replaced: its successor accepts what waits.

A module may import only modules above it in this list:

  - timers: calls that are made later
  - messages: what a supervisor and its servers send each other
  - shared_sockets: opens the listening sockets of all servers
  - inherited_sockets: accepts connections from the sockets that a server has inherited
  - server_log: carries the log of a server to its supervisor
  - server_start: checks the options, and starts the process of a server
  - figure_reports: reports the figures of a server, and requests the figures of all servers
  - figure_collection: the figures of all servers, in their supervisor
  - supervised_server: a server, as the supervisor sees it
  - socket_owners: which server accepts connections from which sockets
  - successors: replaces single servers
  - new_servers: makes servers that have the same options and sockets
  - restart_pauses: how long the supervisor waits before it starts a server again
  - server_checks: checks regularly which servers have reached a limit, and which are frozen
  - supervisor: starts, replaces and stops servers
  - server_service: a server that has a supervisor
  - server_main: the program of such a server
"""
