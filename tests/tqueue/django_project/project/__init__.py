"""A project of Django 6 that performs tasks with TQueueSrv."""
