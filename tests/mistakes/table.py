"""The mistakes: for each a command, and the files that it needs."""

from __future__ import annotations

from typing import NamedTuple

SHOP = """\
import asyncio
import sqlite3
import time
from datetime import date
from typing import Annotated

from msgspec import Meta

PRICES = {"bolt": 0.15, "nut": 0.05}
database = sqlite3.connect(":memory:")


def price(name):
    return {"name": name, "price": PRICES[name]}


def order(name: str, count: Annotated[int, Meta(ge=1)], by: date | None = None):
    return {"name": name, "count": count, "by": by}


def tags(tags: list[str]):
    return {"tags": tags}


def nothing():
    PRICES["bolt"] = 0.16


def ratio():
    return {"ratio": float("nan")}


def rows():
    return {"rows": database.execute("SELECT 1").fetchall()}


def loop():
    return {"done": asyncio.get_event_loop().run_until_complete(asyncio.sleep(0))}


def slow():
    time.sleep(3)
    return {}


url_patterns = (
    (r"/price/(?P<name>[a-z]+)/", price),
    (r"/order/(?P<name>[a-z]+)/", order),
    (r"/tags/", tags),
    (r"/nothing/", nothing),
    (r"/ratio/", ratio),
    (r"/rows/", rows),
    (r"/loop/", loop),
    (r"/slow/", slow),
)
"""
START, CHECK = "appserver shop.py", "appserver shop.py --check"
SERVE = "appserver shop.py --log-format text --timeout 1 --max-body 1000"
SERVE_WITH_TOKEN = f"{SERVE} --token-file token"
TOKEN = {"token": "0123456789abcdef0123456789abcdef\n"}
ONE = "from twisted_appserver import Route, run_server\n\n\ndef price(name):\n    return {{}}\n\n\n{}\n"


class Mistake(NamedTuple):
    """
    A mistake.

    @ivar command: for C{bash}, in a folder of its own. Requests go to port 8080.
    @ivar files: the contents of files, by name.
    @ivar server: the command of a server that runs meanwhile; empty for none. What it logs is shown too.
    """

    title: str
    command: str
    files: dict[str, str] = {}
    server: str = ""


def _one(text: str) -> dict[str, str]:
    return {"shop.py": ONE.format(text)}


def _table(entry: str) -> dict[str, str]:
    return _one(f"url_patterns = ({entry},)")


def _shop(text: str) -> dict[str, str]:
    return {"shop.py": text}


COMMAND_LINE = (
    Mistake("A misspelt option", "appserver --prot 8081"),
    Mistake("An option without its value", "appserver --port"),
    Mistake("A port that is not a number", "appserver --port http"),
    Mistake("A port that is not a number, in the environment", "APPSERVER_PORT=http appserver"),
    Mistake(
        "A misspelt option in the environment",
        "APPSERVER_ALOW_HOST=shop.example appserver shop.py --check",
        _shop(SHOP),
    ),
    Mistake("A port that is too large", "appserver --port 99999"),
    Mistake("A port that is in use", "appserver shop.py --port 8080", _shop(SHOP), SERVE),
    Mistake("A misspelt type", "appserver --type procesess"),
    Mistake("A number that must be larger", "appserver --type forked --workers 0"),
    Mistake("The wrong directory", "appserver"),
    Mistake("A file that does not exist", START),
    Mistake("A module that does not exist", "appserver shop"),
    Mistake("A file without url_patterns", START, _shop("PRICES = {}\n")),
    Mistake("A syntax error", START, _shop("def price(name)\n    return {}\n")),
    Mistake("An import that fails", START, _shop("import requets\n")),
    Mistake("An exception at import", START, _shop('import os\n\nos.environ["SHOP"]\n')),
    Mistake("A token file that does not exist", "appserver shop.py --token-file token", _shop(SHOP)),
    Mistake(
        "A token that is too short",
        "chmod 600 token; appserver shop.py --token-file token",
        {"token": "x\n", **_shop(SHOP)},
    ),
    Mistake(
        "A token that other users can read",
        "chmod 644 token; appserver shop.py --token-file token",
        {**TOKEN, **_shop(SHOP)},
    ),
    Mistake(
        "Open to other machines, without authentication",
        "appserver shop.py --listen tcp:8080:interface=0.0.0.0",
        _shop(SHOP),
    ),
    Mistake("An endpoint without its kind", "appserver shop.py --listen 8080", _shop(SHOP)),
    Mistake("An endpoint with a wrong port", "appserver shop.py --listen tcp:80x", _shop(SHOP)),
    Mistake(
        "A unix socket in a folder that does not exist",
        "appserver shop.py --listen unix:run/shop.sock",
        _shop(SHOP),
    ),
    Mistake(
        "A socket of systemd, without its unit",
        "appserver shop.py --listen systemd:domain=INET:index=0",
        _shop(SHOP),
    ),
    Mistake("An origin without its scheme", "appserver shop.py --allow-origin localhost:3000", _shop(SHOP)),
    Mistake("An option of another server", "appserver --reload=true"),
    Mistake("A misspelt option of twistd's plugin", "twistd -n appserver --prot 8081"),
    Mistake("A misspelt argument of run_server", "python shop.py", _one("run_server((), prot=1)")),
    Mistake("run_server without a table", "python shop.py", _one("run_server()")),
    Mistake(
        "run_server outside of `if __name__`",
        START,
        _one('url_patterns = ((r"/price/(?P<name>)/", price),)\nrun_server()'),
    ),
    Mistake(
        "A file named like a module of Python",
        START,
        {
            "statistics.py": "PRICES = {}\n",
            "shop.py": "import statistics\n\nMEAN = statistics.mean([1, 2])\n",
        },
    ),
    Mistake(
        "A queue's server that does not run", "tqueue --url http://localhost:8080/ put jobs '{\"n\": 1}'"
    ),
    Mistake("A misspelt verb of a queue", "tqueue putt jobs '{\"n\": 1}'"),
    Mistake("A task that is not JSON", "tqueue put jobs '{n: 1}'"),
)
TABLES = (
    Mistake(
        "One pair in place of a table",
        START,
        _one('url_patterns = (r"/price/", price)'),
    ),
    Mistake("A function that is called", START, _table('(r"/price/", price("bolt"))')),
    Mistake("A function by its name", START, _table('(r"/price/", "price")')),
    Mistake("A misspelt name of a function", START, _table('(r"/price/(?P<name>)/", "shop:prise")')),
    Mistake(
        "A misspelt group",
        START,
        _one('url_patterns = ((r"/order/(?P<nmae>)/", lambda name, count=1: {}),)'),
    ),
    Mistake(
        "A module in place of its table",
        START,
        _one('from twisted_appserver import include\n\nurl_patterns = (include("/v1", "shop"),)'),
    ),
    Mistake(
        "Two slashes in a row",
        CHECK,
        _one(
            "from twisted_appserver import include\n\n"
            'url_patterns = (include("/v1/", [(r"/price/(?P<name>)/", price)]),)'
        ),
    ),
    Mistake("A pattern that is not closed", START, _table('(r"/price/(?P<name>", price)')),
    Mistake(
        "A group written as in a URL template",
        CHECK,
        _table('(r"/price/<name>/", price)'),
    ),
    Mistake("A group without ?P", CHECK, _table('(r"/price/(?<name>[a-z]+)/", price)')),
    Mistake(
        "A group that no parameter takes",
        CHECK,
        _table('(r"/price/(?P<nmae>)/", price)'),
    ),
    Mistake(
        "A misspelt executor",
        START,
        _table('Route(r"/price/(?P<name>)/", price, executor="process")'),
    ),
    Mistake(
        "A misspelt option of a route",
        START,
        _table('Route(r"/price/(?P<name>)/", price, method="GET")'),
    ),
    Mistake("A misspelt method", CHECK, _table('Route(r"/price/(?P<name>)/", price, methods=["GTE"])')),
    Mistake(
        "A pattern that can block the server",
        CHECK,
        _table('(r"/price/(?P<name>(?!x)(?:[a-z]+-?)+)/", price)'),
    ),
    Mistake(
        "Several mistakes",
        f"{CHECK} --token-file token --allow-origin '*'",
        _one(
            'url_patterns = (\n    (r"/price/(?P<name>", price),\n    (r"/prices/", "shop:prices"),\n'
            '    Route(r"/price/(?P<name>)/", price, timeout=-1),\n)'
        ),
    ),
    Mistake(
        "A misspelt key of a limit",
        CHECK,
        _table('Route(r"/price/(?P<name>)/", price, key="nmae", at_once=1)'),
    ),
    Mistake("A rate that is a number", CHECK, _table('Route(r"/price/(?P<name>)/", price, rate=10)')),
    Mistake("A limit of no jobs", CHECK, _table('Route(r"/price/(?P<name>)/", price, at_once=0)')),
    Mistake("An empty table", CHECK, _shop("url_patterns = ()\n")),
    Mistake(
        "A file for a method without a body",
        CHECK,
        _shop(
            "from twisted_appserver import Route, Upload\n\n\ndef store(picture: Upload):\n    return {}\n\n\n"
            'url_patterns = (Route("/pictures/", store, methods=("GET",)),)\n'
        ),
    ),
    Mistake(
        "A lifespan without a yield",
        CHECK,
        _one('def lifespan():\n    print("open")\n\n\nurl_patterns = (("/price/", price),)'),
    ),
)
REQUESTS = (
    Mistake("A path without its last slash", "curl -si localhost:8080/price/bolt"),
    Mistake("A misspelt path", "curl -s localhost:8080/pirce/bolt/"),
    Mistake("A parameter that is missing", "curl -s localhost:8080/order/bolt/"),
    Mistake("A parameter that does not exist", "curl -s 'localhost:8080/order/bolt/?count=1&colour=red'"),
    Mistake("Text instead of a number", "curl -s 'localhost:8080/order/bolt/?count=two'"),
    Mistake("A number that is too small", "curl -s 'localhost:8080/order/bolt/?count=0'"),
    Mistake("A date in another order", "curl -s 'localhost:8080/order/bolt/?count=1&by=31.01.2030'"),
    Mistake("A list where one value is expected", "curl -s 'localhost:8080/order/bolt/?count=1&count=2'"),
    Mistake("One value where a list is expected", 'curl -s localhost:8080/tags/ --json \'{"tags": "new"}\''),
    Mistake("JSON with single quotes", "curl -s localhost:8080/tags/ --json \"{'tags': []}\""),
    Mistake("JSON that is not an object", "curl -s localhost:8080/tags/ --json '[\"new\"]'"),
    Mistake("JSON without its content type", 'curl -s localhost:8080/tags/ -d \'{"tags": ["new"]}\''),
    Mistake(
        "JSON without its content type, for a parameter with a default",
        "curl -s 'localhost:8080/order/bolt/?count=1' -d '{\"by\": \"2030-01-31\"}'",
    ),
    Mistake(
        "An unknown content type",
        "curl -s localhost:8080/tags/ -H 'Content-Type: text/xml' -d '<tags/>'",
    ),
    Mistake(
        "A body that is too large", "head -c 2000 /dev/zero | curl -s localhost:8080/tags/ --data-binary @-"
    ),
    Mistake("A method that the route does not have", "curl -s -X DELETE localhost:8080/tags/"),
    Mistake(
        "Another host name",
        "curl -s http://shop.example:8080/price/bolt/ --connect-to shop.example:8080:localhost:8080",
    ),
    Mistake("https to a port of http", "curl -sS https://localhost:8080/price/bolt/"),
    Mistake(
        "A page of another site",
        "curl -si -H 'Origin: https://shop.example' -X POST localhost:8080/tags/ -d tags=new",
    ),
    Mistake("A key that is missing in the function", "curl -s localhost:8080/price/screw/"),
    Mistake("A function that returns nothing", "curl -s localhost:8080/nothing/"),
    Mistake("A result that JSON does not have", "curl -s localhost:8080/ratio/"),
    Mistake("A connection to SQLite that several threads use", "curl -s localhost:8080/rows/"),
    Mistake("An event loop in a thread", "curl -s localhost:8080/loop/"),
    Mistake("A function that takes too long", "curl -s localhost:8080/slow/"),
)
TOKENS = (
    Mistake("A token that is missing", "curl -si localhost:8080/price/bolt/"),
    Mistake("A wrong token", "curl -s localhost:8080/price/bolt/ -H 'Authorization: Bearer x'"),
    Mistake(
        "A token without its scheme",
        f"curl -s localhost:8080/price/bolt/ -H 'Authorization: {TOKEN['token'].strip()}'",
    ),
    Mistake("A browser without the token", "curl -s localhost:8080/price/bolt/ -H 'Accept: text/html'"),
)
GROUPS = {
    "Starting a server": COMMAND_LINE,
    "The table": TABLES,
    "Requests and functions": tuple(mistake._replace(server=SERVE) for mistake in REQUESTS),
    "Authentication": tuple(mistake._replace(server=SERVE_WITH_TOKEN) for mistake in TOKENS),
}
