"""Tests of a service that has no jobs."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from twisted_appserver import HTTPError
from twisted_appserver.jobs.interface import IJobs, job_patterns
from twisted_appserver.jobs.no_jobs import NoJobs


class NoJobsTests(SynchronousTestCase):
    def test_interface_is_complete(self) -> None:
        verifyObject(IJobs, NoJobs("why"))

    def test_every_request_gets_the_reason(self) -> None:
        jobs = NoJobs("jobs need a store")
        arguments = {"index": (None,), "schedules": ()}
        for route in job_patterns(jobs):
            name = route.function.__name__
            given = arguments.get(name, ("job", None))
            error = self.failureResultOf(Deferred.fromCoroutine(route.function(*given)), HTTPError).value
            self.assertEqual((error.status, error.detail), (501, "jobs need a store"))

    def test_calls_do_not_become_jobs_silently(self) -> None:
        """Neither calls of clients nor of functions."""
        jobs = NoJobs("why")
        self.assertEqual(self.assertRaises(HTTPError, jobs.take, None).status, 501)  # type: ignore[arg-type]
        self.failureResultOf(Deferred.fromCoroutine(jobs.put(None, 0)), HTTPError)  # type: ignore[arg-type]

    def test_it_starts_and_stops_at_once(self) -> None:
        jobs = NoJobs("why")
        jobs.open()
        jobs.begin()
        jobs.table_changed()
        jobs.rest()
        self.successResultOf(jobs.stop())
        self.successResultOf(jobs.close())
        self.assertEqual(jobs.unfinished("ada"), 0)
