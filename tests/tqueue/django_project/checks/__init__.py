"""Checks of the backend. Each module is a program of C{unittest}, which C{tests.tqueue.test_django} runs."""
