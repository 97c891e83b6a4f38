"""Tests of TQueueSrv. The folder L{server} starts a real one."""
