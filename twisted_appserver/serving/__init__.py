"""
A server as a program: endpoints, start and end, logs.

A module may import only modules above it in this list:

  - readiness: the conditions under which a service is ready
  - access_log: one line for each request
  - logs: text for terminals, JSON lines for machines
  - environment: variables that look like options
  - command_options: the command line of a server
  - reactor_choice: which reactor a server program installs
  - endpoint_advice: why an endpoint cannot be used, and what to write instead
  - endpoints: addresses to listen on, and TLS
  - assembly: makes the dispatcher and the jobs from the settings
  - service_executors: the executors that the table needs
  - reloader: replaces the application and the credentials
  - banner: the lines that a server logs when it starts
  - stop_signals: the first and the second SIGINT or SIGTERM
  - service: starts, drains and stops a server
  - file_watcher: notices when files are saved
  - process_exit: runs atexit functions and sets the exit status
  - server_process: signals and limits of a server process
  - servers: several servers under a supervisor
  - check: finds problems without starting a server
  - daemon: reports to the shell whether a daemon has started
  - run: C{run_server}
  - tap: the C{twistd} command
"""
