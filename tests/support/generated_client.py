"""
Calls every function of an example through a client that openapi-python-client has made.

C{python generated_client.py typed http://localhost:8080}, with the folder of the client in C{PYTHONPATH}. It
fails if a function of the client is not called, or returns anything unexpected.
"""

from __future__ import annotations

import datetime
import hashlib
import pkgutil
import sys
import time
from collections.abc import Callable
from importlib import import_module
from io import BytesIO
from typing import Any
from uuid import UUID

DNS = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
TOKEN = "0123456789abcdefTOKEN"


class GeneratedClient:
    """
    A generated client.

    @param package: the name of the package and of the example.
    @ivar called: the operations that have been called.
    """

    def __init__(self, package: str, url: str) -> None:
        self._package, self.called = package, set[str]()
        self.models = import_module(f"{package}.models")
        self.types = import_module(f"{package}.types")
        self._client = import_module(package).AuthenticatedClient(base_url=url, token=TOKEN)

    def response(self, operation: str, *arguments: Any, tag: str = "functions", **options: Any) -> Any:
        """Call an operation, and return the whole response."""
        self.called.add(operation)
        module = import_module(f"{self._package}.api.{tag}.{operation}")
        return module.sync_detailed(*arguments, client=self._client, **options)

    def __call__(self, operation: str, *arguments: Any, **options: Any) -> Any:
        """Call an operation, and return what it returns: a model as a dict."""
        response = self.response(operation, *arguments, **options)
        assert 200 <= response.status_code < 300, (operation, response)
        parsed = response.parsed
        return parsed.to_dict() if hasattr(parsed, "to_dict") else parsed

    def operations(self) -> set[str]:
        """Return the names of all operations."""
        found = set()
        for tag in ("functions", "jobs"):
            package = import_module(f"{self._package}.api.{tag}")
            found |= {each.name for each in pkgutil.iter_modules(package.__path__)}
        return found


def equal(got: Any, expected: Any) -> None:
    assert got == expected, (got, expected)


def call_numbers(api: GeneratedClient) -> None:
    models = api.models
    equal(api("add_by_a_get", 2, b=3), {"sum": 5})
    equal(api("add_by_a_post", 2, body=models.AddByAPostJsonBody(b=4)), {"sum": 6})
    equal(api("add_by_a_post", 2, body=models.AddByAPostDataBody(b=4)), {"sum": 6})
    equal(api("root_at_square_root_by_number_get", 2.25), {"root": 1.5})
    equal(api("root_at_square_root_by_number_post", 2.25), {"root": 1.5})
    equal(api("price_by_amount_get", "10.00", rate="19"), {"price": "11.9000"})
    equal(
        api("price_by_amount_post", "10.00", body=models.PriceByAmountPostJsonBody(rate=19.0)),
        {"price": "11.9000"},
    )
    equal(api("convert_by_to_get", models.Unit.FT, length=0.3048), {"ft": 1.0})
    equal(
        api("convert_by_to_post", models.Unit.M, body=models.ConvertByToPostJsonBody(length=1.0)),
        {"m": 0.3048},
    )
    problem = api.response("root_at_square_root_by_number_get", -1.0).parsed
    assert isinstance(problem, models.Problem), problem
    assert "number" in problem.detail, problem


def call_objects(api: GeneratedClient) -> None:
    models, day = api.models, datetime.date(2030, 12, 31)
    points = models.DistancePostBody(a=models.Point(0.0), b=models.Point(3.0, 4.0))
    equal(api("distance_post", body=points), {"distance": 5.0})
    order = {"name": "bolt", "count": 3, "tags": ["a", "b"]}
    equal(api("order_post", body=models.Order.from_dict(order)), order)
    equal(api("later_by_day_get", day), {"day": "2031-01-01"})
    equal(api("later_by_day_post", day, body=models.LaterByDayPostJsonBody(days=2)), {"day": "2031-01-02"})
    equal(api("identify_by_namespace_by_name_get", DNS, "a b")["id"][14], "5")
    equal(api("identify_by_namespace_by_name_post", DNS, "a b")["id"][14], "5")


def call_lists(api: GeneratedClient) -> None:
    models = api.models
    for numbers in ([3, 1, 2], [7]):
        equal(api("sort_get", numbers=numbers), {"numbers": sorted(numbers)})
    down = models.SortGetDirection.DOWN
    equal(api("sort_get", numbers=[1, 2], direction=down), {"numbers": [2, 1]})
    body = models.SortPostBody(numbers=[1, 3], direction=models.SortPostBodyDirection.DOWN)
    equal(api("sort_post", body=body), {"numbers": [3, 1]})
    equal(api("count_get", text="a b", letters=True), {"count": 2})
    equal(api("count_post", body=models.CountPostBody(text="a b a", word="a")), {"count": 2})


def call_jobs(api: GeneratedClient, start: Callable[[], Any]) -> None:
    """
    @param start: starts a job, and returns its response.
    """
    response = start()
    equal(response.status_code, 202)
    job = response.headers["location"].rpartition("/")[2]
    while (shown := api("jobs_show", job, tag="jobs"))["state"] in ("waiting", "running"):
        time.sleep(0.01)
    equal(shown["state"], "done")
    equal(api("jobs_list", tag="jobs")["jobs"][0]["job"], job)
    equal(api.response("jobs_result", job, tag="jobs").status_code, 200)
    equal(api.response("jobs_retry", job, tag="jobs").status_code, 409)  # it has not failed
    equal(api("jobs_cancel", job, tag="jobs")["job"], job)
    equal(api.response("jobs_show", job, tag="jobs").status_code, 404)


def call_typed(api: GeneratedClient) -> None:
    call_numbers(api)
    call_objects(api)
    call_lists(api)
    call_jobs(api, lambda: api.response("sort_get", numbers=[2, 1], prefer="respond-async"))


def call_uploads(api: GeneratedClient) -> None:
    models, File = api.models, api.types.File
    file = File(BytesIO(b"x" * 300), "photo.png", "image/png")
    found = api("attach_post", body=models.AttachPostBody(file=file, title="é", copies=2))
    equal(found, {"name": "photo.png", "size": 300, "title": "é", "copies": 2, "urgent": False})
    urgent = models.AttachPostBodyUrgent.TRUE
    equal(api("attach_post", body=models.AttachPostBody(file=file, urgent=urgent))["urgent"], True)
    for names in (["a"], ["a", "b"]):
        files = [File(BytesIO(b"y"), name, "text/plain") for name in names]
        equal(api("album_post", body=models.AlbumPostBody(photos=files)), names)


def call_media(api: GeneratedClient) -> None:
    models, types = api.models, api.types
    body, digest = b"\x00\xff" * 100, hashlib.sha256(b"\x00\xff" * 100).hexdigest()
    for operation in ("checksum_post", "checksum_put"):
        found = api(operation, body=types.File(BytesIO(body)))
        equal(found, {"algorithm": "sha256", "size": 200, "digest": digest})
    sha1 = models.ChecksumPostAlgorithm.SHA1
    equal(len(api("checksum_post", body=types.File(BytesIO(body)), algorithm=sha1)["digest"]), 40)
    call_uploads(api)
    equal(api("noise_by_size_get", 5).payload.read(), hashlib.shake_128(b"0").digest(5))
    equal(api("poem_get", lines=2), "line 1\nline 2")
    assert b"blue" in api.response("square_by_side_get", 5, colour="blue").content
    equal(api.response("save_post", body=models.SavePostJsonBody(title="x")).status_code, 201)
    sales = [models.Sale(datetime.date(2030, 1, day), "bolt", float(day)) for day in (1, 2)]
    (total,) = api("totals_post", body=models.TotalsPostBody(sales=sales))
    equal(total.to_dict(), {"article": "bolt", "days": 2, "mean": 1.5})
    days = [datetime.date(2030, 1, day) for day in (1, 2, 3)]
    equal(api("between_get", days=days, first=days[1]), days[1:])
    lines = api("countdown_by_start_get", 2)
    equal(lines, '{"done":1,"total":2}\n{"done":2,"total":2}\n')
    equal(api("greet_at_hello_get"), {"greeting": "hello"})
    equal(api("greet_at_good_day_get", language=models.GreetAtGoodDayGetLanguage.DE), {"greeting": "hallo"})
    call_jobs(api, lambda: api.response("countdown_by_start_get", 3, prefer="respond-async"))


def main(example: str, url: str) -> None:
    api = GeneratedClient(example, url)
    {"typed": call_typed, "media": call_media}[example](api)
    equal(api.called, api.operations())
    print(f"{len(api.called)} operations called")


if __name__ == "__main__":
    main(*sys.argv[1:])
