"""The mistakes of programs that use a server: workers, web pages, tests, and programs that contain it."""

from __future__ import annotations

from tests.mistakes.table import SERVE, SHOP, Mistake

QUEUES = "twistd -n --pidfile= tqueuesrv --port 8080 --log-format text"
PAGES = f"{SERVE} --allow-origin http://localhost:9000"
TASK = "1-6f1ed002ab559585"


def _program(title: str, text: str, last: str, server: str = "") -> Mistake:
    """Return the mistake in the last line of a program, which prints the exception."""
    program = f"{text}\ntry:\n    {last}\nexcept Exception as error:\n    print(error)\n"
    return Mistake(title, "python program.py", {"program.py": program}, server)


QUEUE = """\
from twisted_appserver.tqueue.client import Queue

queue = Queue(url="http://localhost:8080", name="jobs"\
"""
WORKERS = (
    Mistake("A function that does not exist", "tqueue work jobs shop:prise"),
    Mistake("A function without a parameter", "tqueue work jobs shop:nothing"),
    Mistake("A module that does not exist", "tqueue work jobs shopp:price"),
    Mistake("A function named by its file", "tqueue work jobs ./shop.py:price"),
    Mistake("A task that is not leased", f"tqueue done jobs {TASK}"),
    Mistake("A result that is not JSON", f"tqueue done jobs {TASK} --result '{{size: 7}}'"),
    Mistake("A result in a queue that keeps no results", f"tqueue result jobs {TASK}"),
    Mistake("A misspelt option of a queue", "tqueue config jobs kep=60"),
    Mistake("A rate with an unknown period", "tqueue config jobs rate=10/w"),
    Mistake("A queue whose groups may never run", "tqueue config jobs at_once=0"),
    Mistake("The time of a unique key without the key", "tqueue put jobs n=1 --unique-for 60"),
    Mistake("One unique key for many tasks", "echo n=1 | tqueue put jobs --unique order-7"),
    Mistake("A unique key that is not taken", "tqueue forget jobs order-7"),
    Mistake("A misspelt unique", "curl -s 'localhost:8080/jobs/put?uniqe=order-7' -d n=1"),
    Mistake("A task without its content type", "curl -s localhost:8080/jobs/put -d '{\"n\": 1}'"),
    Mistake("A request that requires POST", "curl -s localhost:8080/jobs/purge"),
    Mistake("A misspelt option of a request", "curl -s 'localhost:8080/jobs/get?timout=5'"),
    _program("An item that the queue object does not hold", f"{QUEUE})", 'queue.task_done({"n": 1})'),
    _program("One item where several are expected", f"{QUEUE})", 'queue.put_many({"n": 1})'),
    _program("An option that does not exist, from Python", f"{QUEUE})", "queue.config(kep=60)"),
    _program("The URL of another path", QUEUE.replace("8080", "8080/queues") + ")", 'queue.put({"n": 1})'),
)
REPORTS = "from twisted_appserver.tqueue import report_progress\n"
STOPPED = (
    _program("Progress where no task is performed", REPORTS, "report_progress(0.5)"),
    _program("A server that does not run, from Python", f"{QUEUE}, patience=1)", 'queue.put({"n": 1})'),
)
ORIGINS = (
    Mistake(
        "A page of an origin that is not allowed: 127.0.0.1 is not localhost",
        "curl -si -H 'Origin: http://127.0.0.1:9000' localhost:8080/price/bolt/",
    ),
    Mistake(
        "A preflight request of such a page",
        "curl -si -X OPTIONS -H 'Origin: http://127.0.0.1:9000' -H 'Access-Control-Request-Method: POST' "
        "localhost:8080/price/bolt/",
    ),
    Mistake(
        "A page that was opened as a file",
        "curl -s -H 'Origin: null' localhost:8080/price/bolt/",
    ),
)
ORIGIN_OPTIONS = tuple(
    Mistake(title, f"appserver shop.py --allow-origin {origin}", {"shop.py": SHOP})
    for title, origin in (
        ("An origin without its scheme", "localhost:9000"),
        ("An origin with a path", "http://localhost:9000/page.html"),
    )
)
EMBEDDED = """\
from twisted.internet import reactor
from twisted_appserver import AppResource, Route, make_service


def price(name):
    return {"name": name}


url_patterns = (Route(r"/price/(?P<name>)/", price, executor="processes"),)
"""
EMBEDDING = tuple(
    _program(title, EMBEDDED, last)
    for title, last in (
        ("A route for worker processes, without an executor", "AppResource(url_patterns, reactor)"),
        ("Worker processes without a name", 'make_service(url_patterns, server_type="forked")'),
        ("reload in a program of your own", "make_service(url_patterns, reload=True)"),
        ("A misspelt argument of make_service", "make_service(url_patterns, prot=8080)"),
    )
)
TESTED = """\
from twisted_appserver.testing import Client


def price(name, currency="EUR"):
    return {"name": name, "currency": currency}


url_patterns = ((r"/price/(?P<name>)/", price),)
"""
TESTS = (
    _program("A misspelt option of the client", TESTED, 'Client(url_patterns, tokn_file="token")'),
    _program("A path without its first slash", TESTED, 'print(Client(url_patterns).get("price/bolt/").text)'),
)
PUT = """\
from twisted_appserver import jobs
from twisted_appserver.testing import Client


def price(name: str, count: int):
    return {"name": name, "count": count}


def total(count: int):
    return {"count": count}


url_patterns = ((r"/price/(?P<name>[a-z]+)/", price),)
"""
JOBS = (
    _program("A job where no service runs", PUT, 'jobs.put(price, name="bolt", count=2)'),
    *(
        _program(title, PUT, f"with Client(url_patterns):\n        {statement}")
        for title, statement in (
            ("A function that is not in the table", "jobs.put(total, count=2)"),
            ("A misspelt name of a job's function", 'jobs.put("prise", name="bolt", count=2)'),
            ("A function that is called already", 'jobs.put(price("bolt", 2))'),
            ("A variable of a job that is missing", "jobs.put(price, count=2)"),
            ("A misspelt variable of a job", 'jobs.put(price, name="bolt", cuont=2)'),
            ("A variable of a job with the wrong type", 'jobs.put(price, name="bolt", count="two")'),
            ("A variable that does not fit the pattern", 'jobs.put(price, name="Bolt 7", count=2)'),
            ("A variable that JSON does not have", 'jobs.put(price, name="bolt", count=2j)'),
            ("A job in the past", 'jobs.with_options(delay=-1).put(price, name="bolt", count=2)'),
            ("An option of put that does not exist", 'jobs.with_options(dealy=5).put(price, name="bolt")'),
        )
    ),
)
CLIENT_GROUPS = {
    "Jobs": JOBS,
    "Queues and their workers": (*(mistake._replace(server=QUEUES) for mistake in WORKERS), *STOPPED),
    "Web pages of other origins": (*(each._replace(server=PAGES) for each in ORIGINS), *ORIGIN_OPTIONS),
    "Embedding": EMBEDDING,
    "The test client": TESTS,
}
