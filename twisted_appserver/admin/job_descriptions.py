"""The paths of background calls, and the header that requests such a call, as OpenAPI describes them."""

from __future__ import annotations

from typing import Any

from twisted_appserver.admin.response_descriptions import BYTES, JSON
from twisted_appserver.admin.schemas import BINARY, Schemas
from twisted_appserver.jobs.documents import LISTED
from twisted_appserver.jobs.idempotency import LONGEST_KEY

PREFER: dict[str, Any] = {
    "name": "Prefer",
    "in": "header",
    "description": "respond-async makes the call a job: the response is 202, with its address (RFC 7240). "
    "With respond-async, wait=5, this happens only if the job has not ended after 5 seconds.",
    "schema": {"type": "string"},
}
IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A request that is repeated with the same key is performed once, with the same response. "
    "Another request with this key gets 422. A further request gets 409 while the first one "
    "is being performed.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
}
PARAMETERS = {each["name"]: each for each in (PREFER, IDEMPOTENCY_KEY)}
KEY_METHODS = ("POST", "PATCH")  # the others are idempotent by themselves
TEXT = {"type": "string"}
MOMENT = {"type": "string", "format": "date-time"}
ACCEPTED = {
    # Its body is left out: with it, every generated function would return either a job or the result. Every
    # caller would have to tell them apart, although only callers who send the header get a job.
    "description": "The call has become a job, because of Prefer: respond-async.",
    "headers": {"Location": {"description": "The address of the job.", "schema": TEXT}},
    "links": {"job": {"operationId": "jobs_show", "parameters": {"job": "$response.body#/job"}}},
}
SUMMARY = {
    "job": TEXT,
    "function": TEXT,
    "state": {"type": "string", "enum": ["waiting", "running", "done", "failed", "cancelled"]},
    "created": MOMENT,
    "began": {"type": ["string", "null"], "format": "date-time", "description": "Of the last attempt."},
    "ended": {"type": ["string", "null"], "format": "date-time"},
    "items": {"type": "integer", "description": "How many items a generator has yielded."},
    "attempt": {"type": "integer", "description": "The number of the present or last attempt."},
    "seconds": {"type": "number", "description": "How long this attempt has taken."},
}
CALLED = {  # members that jobs of earlier versions in a store lack
    "method": TEXT,
    "path": {"type": "string", "description": "With the query."},
}
LISTED_ONLY = {  # members of a job in a list
    "error": {"type": "string", "description": "The error of the last attempt that has failed."},
    "progress": {"description": "The last item of a generator that has not ended."},
}
PAGE_PARAMETERS = [
    {"name": "after", "in": "query", "description": "The member next of the page before.", "schema": TEXT},
    {"name": "state", "in": "query", "schema": SUMMARY["state"]},
    {"name": "function", "in": "query", "description": "Only jobs of this function.", "schema": TEXT},
    {
        "name": "limit",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": LISTED},
    },
]

NAME = {"type": "object", "title": "JobName", "properties": {"job": TEXT}, "required": ["job"]}
ATTEMPT = {
    "type": "object",
    "properties": {
        "began": MOMENT,
        "seconds": {"type": "number"},
        "reason": {"type": "string"},
        "error": {"type": "string"},
        "traceback": {"type": "string", "description": "Left out if the client may not see it."},
    },
}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/parameters/{name}"}


class JobDescriptions:
    """
    Describe jobs.

    @param schemas: the schemas of the document.
    """

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas

    def add_to(self, operation: dict[str, Any], method: str) -> None:
        """Describe that a call of a function can become a job, and that some requests may be repeated."""
        parameters = operation.setdefault("parameters", [])
        parameters.append(_reference("Prefer"))
        if method in KEY_METHODS:
            parameters.append(_reference("Idempotency-Key"))
        operation["responses"]["202"] = ACCEPTED

    def paths(self) -> dict[str, dict[str, Any]]:
        """Return the operations of jobs, by path and method."""
        add = self._schemas.add
        members = SUMMARY | CALLED
        summary = {"type": "object", "title": "JobSummary", "properties": members, "required": [*SUMMARY]}
        progress: dict[str, Any] = {
            "instance": {"type": "string", "description": "Its id in the log."},
            "attempts": {"type": "array", "items": ATTEMPT, "description": "The attempts that have failed."},
            "progress": {"description": "The last item of a generator."},
            "result": {"description": "What the function returned."},
            "error": self._schemas.problem,
        }
        job = add("Job", {**summary, "title": "Job", "properties": {**members, **progress}})
        whole = {JSON: {"schema": job}}
        result = {JSON: {"schema": {}}, BYTES: {"schema": BINARY}, "*/*": {}}
        show = self._operation("jobs_show", "Return a job: its state, its progress, and its result.", whole)
        retry = self._operation(
            "jobs_retry",
            "Repeat the call of a job that has failed, or begin the next attempt of a job now.",
            {JSON: {"schema": add("JobName", NAME)}},
        )
        cancel = self._operation("jobs_cancel", "Cancel a job, or delete it if it has finished.", whole)
        jobs = self._list_of(add("JobSummary", {**summary, "properties": {**members, **LISTED_ONLY}}))
        listed = self._operation(
            "jobs_list", "List the newest jobs.", {JSON: {"schema": add("JobList", jobs)}}
        )
        got = self._operation("jobs_result", "Return the response that the call would have had.", result)
        got["responses"]["2XX"] = got["responses"].pop("200")  # a Reply has any status
        listed["parameters"] = PAGE_PARAMETERS
        return {
            "/-/jobs": {"get": listed},
            "/-/jobs/{job}": {"get": show, "delete": cancel},
            "/-/jobs/{job}/result": {"get": got},
            "/-/jobs/{job}/retry": {"post": retry},
        }

    def _list_of(self, job: dict[str, Any]) -> dict[str, Any]:
        """Return the schema of a page of jobs."""
        properties = {
            "jobs": {"type": "array", "items": job},
            "total": {"type": "integer"},
            "functions": {"type": "array", "items": TEXT, "description": "All functions that have jobs."},
            "next": {"type": ["string", "null"], "description": "The after of the next page."},
        }
        return {"type": "object", "title": "JobList", "properties": properties, "required": [*properties]}

    def _operation(self, name: str, summary: str, content: dict[str, Any]) -> dict[str, Any]:
        problem = {"content": {"application/problem+json": {"schema": self._schemas.problem}}}
        parameter = {"name": "job", "in": "path", "required": True, "schema": TEXT}
        return {
            "operationId": name,
            "tags": ["jobs"],
            "summary": summary,
            "parameters": [parameter],
            "responses": {
                "200": {"description": summary, "content": content},
                "4XX": {"description": "The request was refused; 404: there is no such job.", **problem},
                "5XX": {"description": "The server failed.", **problem},
            },
        }
