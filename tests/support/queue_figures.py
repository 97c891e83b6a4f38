"""The jobs and queues in the pictures of their pages. They are the same each time."""

from __future__ import annotations

from datetime import UTC, datetime
from math import sin
from random import Random
from typing import Any

from tests.support.status_figures import NOW, SECONDS, TRACEBACK

OPEN_JOB, OPEN_TASK = "5a20c5d1-6f41-9c37d6ab01ee40f2", "1842-5d1f0ab7c94e20d6"
SMTP = "ConnectionError: smtp.example.org refused the connection"
SMTP_TRACE = f"""\
Traceback (most recent call last):
  File "/srv/shop/emails.py", line 27, in send
    with SMTP(HOST, timeout=10) as smtp:
{SMTP}
"""


def _time(ago: float) -> str:
    return datetime.fromtimestamp(NOW - ago, UTC).isoformat()


def _job(function: str, name: str, state: str, ago: float, seconds: float, **more: Any) -> dict[str, Any]:
    facts = {
        "job": f"5a20c5d1-{name}",
        "function": function,
        "method": "POST",
        "path": f"/{function}/",
        "state": state,
        "created": _time(ago),
        "began": _time(ago),
        "ended": None,
    }
    return {**facts, "items": 0, "attempt": 1, "seconds": seconds, **more}


FAILED = _job("place_order", "6f41-9c37d6ab01ee40f2", "failed", 95, 0.012, error="500: KeyError: 'mars'")
JOBS = [
    _job("train", "6f47-03bb6d0ff10ad26c", "running", 12, 12.4, items=23, attempt=2,
         progress={"done": 23, "total": 40}),
    _job("print_label", "6f45-81cc0f4e6a93b50a", "waiting", 40, 0.3, attempt=2,
         error="503: the printer is busy"),
    FAILED,
    _job("train", "6f3e-7a6e02c8d15fe91b", "done", 310, 31.8, items=40),
    _job("send_report", "6f3c-4f0de83ab2c6710d", "cancelled", 600, 2.4, error="410: the job was cancelled"),
    _job("send_report", "6f38-b81f5f27d09a6c3e", "done", 1300, 4.1),
]  # fmt: skip
SCHEDULES = [
    {
        "function": "digest", "path": "/digest/", "schedule": "0 3 * * * (Europe/Berlin)",
        "next": _time(-41760),
        "running": None,
        "last": {"job": JOBS[5]["job"], "state": "done", "ended": _time(44636)},
    },
    {
        "function": "clean_up", "path": "/clean_up/", "schedule": "every 600 s", "next": _time(-240),
        "running": None,
        "last": {"job": JOBS[4]["job"], "state": "failed", "ended": _time(360)},
    },
]  # fmt: skip
PROBLEM = {"type": "about:blank", "title": "Internal Server Error", "status": 500,
           "detail": "the function failed; the log has the reason, with this instance",
           "instance": "d02f7bc1-61"}  # fmt: skip
ATTEMPT = {"began": _time(95), "seconds": 0.012, "reason": "failed", "error": "500: KeyError: 'mars'",
           "traceback": TRACEBACK}  # fmt: skip
SHOP = {"title": "shop", "version": "2.4.0", "jobs": 2, "queues": True}
JOB_ANSWERS: dict[str, Any] = {
    "service.json": SHOP,
    "jobs": {"jobs": JOBS, "total": 128, "functions": ["place_order", "print_label", "train"], "next": None},
    "schedules": {"schedules": SCHEDULES},
    f"jobs/{OPEN_JOB}": {**FAILED, "instance": "d02f7bc1-61", "attempts": [ATTEMPT], "error": PROBLEM},
    f"jobs/{OPEN_JOB}/result": PROBLEM,
}


RUNNING_JOB = JOBS[0]["job"]
FORM_ANSWERS: dict[str, Any] = {f"jobs/{RUNNING_JOB}": JOBS[0]}


def _history() -> list[list[Any]]:
    random, records, ready = Random(7), [], 90.0
    for second in range(120, SECONDS):
        put, done = 24 + 9 * sin(second / 40) + random.gauss(0, 1), 23.4 + random.gauss(0, 0.7)
        ready = max(0.0, ready + (put - done) / 6)
        buried = (second > 300) + (second > 430)
        record = [
            NOW - SECONDS + second,
            round(ready),
            12,
            8,
            3,
            buried,
            ready / 8,
            max(0, put),
            max(0, done),
        ]
        records.append(record)
    return records


HISTORY = _history()


def _queue(
    name: str, counts: tuple[int, ...], oldest: float | None, rate: float, **options: Any
) -> dict[str, Any]:
    states = dict(zip(("ready", "leased", "delayed", "held", "buried", "results"), counts, strict=True))
    return {"queue": name, **states, "oldest": oldest, "rate": rate, "options": {"paused": False, **options}}


EMAILS = _queue(
    "emails", (143, 8, 12, 3, 2, 500), 18.2, 23.4, kind="fifo", max_deliveries=3, keep=3600, at_once=1
)
QUEUES = [
    EMAILS,
    _queue("invoices", (0, 1, 0, 0, 0, 24), None, 0.3),
    _queue("search-index", (8312, 0, 0, 0, 0, 0), 1260, 0, paused=True),
    _queue("thumbnails", (31, 4, 0, 0, 17, 0), 2.1, 6.2),
]


def _task(name: str, fields: str, ago: float, attempts: int, error: str, **more: Any) -> dict[str, Any]:
    times = {"put_at": NOW - ago, "due": 0.0, "lease": 0.0}
    return {
        "task_id": name,
        "excerpt": fields,
        "deliveries": attempts,
        "priority": 0.0,
        **times,
        "error": error,
        **more,
    }


TASKS = [
    _task(OPEN_TASK, '{"to":"ada@example.org","template":"receipt","order":40127}', 540, 3, SMTP,
          group="customer-7"),
    _task("1907-a81c66e0273bd9f4", '{"to":"grace@example","template":"welcome"}', 71, 1,
          "ValueError: invalid address 'grace@example'"),
]  # fmt: skip
ATTEMPTS = [
    {"attempt": number, "began": NOW - 540 + 60 * number, "seconds": 10.02, "by": "mail2:4211",
     "reason": "failed", "error": SMTP, "traceback": SMTP_TRACE}
    for number in (1, 2, 3)
]  # fmt: skip
QUEUE_ANSWERS: dict[str, Any] = {
    "service.json": {**SHOP, "title": "TQueueSrv", "jobs": 0},
    "queues": {"queues": QUEUES, "total": len(QUEUES), "next": None},
    "queues/emails": EMAILS,
    "queues/emails/history": {"history": HISTORY},
    "queues/emails/groups": {
        "groups": [
            {"group": "customer-7", "leased": 1, "ready": 0, "delayed": 0, "held": 3},
            {"group": "customer-12", "leased": 0, "ready": 1, "delayed": 0, "held": 0},
        ],
        "complete": True,
    },
    "queues/emails/tasks": {"state": "buried", "now": NOW, "tasks": TASKS, "next": None},
    f"queues/emails/tasks/{OPEN_TASK}": {
        **TASKS[0], "state": "buried", "attempts": ATTEMPTS,
        "task": {"to": "ada@example.org", "template": "receipt", "order": 40127},
    },
}  # fmt: skip
