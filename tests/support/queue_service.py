"""A TQueueSrv in this process, and a client of its requests for operators."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from tests.support.job_service import JobClient
from twisted_appserver.queue.backends import make_broker, open_store
from twisted_appserver.settings import settings_from_keywords
from twisted_appserver.tqueue.tap import QueueService


class QueueServiceTestCase(TestCase):
    timeout = 30

    async def serve(self, store: str = "memory:") -> JobClient:
        self.broker = make_broker(reactor, open_store(store))
        service = QueueService(reactor, settings_from_keywords(port=0), self.broker)
        service.startService()
        self.addCleanup(service.stopService)
        await service.started
        return JobClient(service.ports[0].getHost().port)

    async def post(self, client: JobClient, path: str, body: bytes = b"") -> dict[str, Any]:
        headers = {"Content_Type": "application/json"} if body else {}
        answer = await client.ask("POST", path, body, **headers)
        self.assertEqual(answer.status, 200, answer.text)
        found: dict[str, Any] = answer.json
        return found
