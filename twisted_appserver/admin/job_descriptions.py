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
PAGE_PARAMETERS = [
    {"name": "after", "in": "query", "description": "The member next of the page before.", "schema": TEXT},
    {
        "name": "limit",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": LISTED},
    },
]
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
    "created": {"type": "string", "format": "date-time"},
    "items": {"type": "integer", "description": "How many items a generator has yielded."},
}

ATTEMPT = {
    "type": "object",
    "properties": {
        "began": {"type": "number", "description": "Seconds since the epoch."},
        "seconds": {"type": "number"},
        "reason": {"type": "string"},
        "error": {"type": "string"},
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
        summary = {"type": "object", "title": "JobSummary", "properties": SUMMARY, "required": [*SUMMARY]}
        progress: dict[str, Any] = {
            "instance": {"type": "string", "description": "Its id in the log."},
            "attempts": {"type": "array", "items": ATTEMPT, "description": "The attempts that have failed."},
            "progress": {"description": "The last item of a generator."},
            "result": {"description": "What the function returned."},
            "error": self._schemas.problem,
        }
        job = add("Job", {**summary, "title": "Job", "properties": {**SUMMARY, **progress}})
        properties = {
            "jobs": {"type": "array", "items": add("JobSummary", summary)},
            "total": {"type": "integer"},
            "next": {"type": ["string", "null"], "description": "The after of the next page."},
        }
        jobs = {"type": "object", "title": "JobList", "properties": properties, "required": [*properties]}
        whole = {JSON: {"schema": job}}
        result = {JSON: {"schema": {}}, BYTES: {"schema": BINARY}, "*/*": {}}
        show = self._operation("jobs_show", "Return a job: its state, its progress, and its result.", whole)
        cancel = self._operation("jobs_cancel", "Cancel a job, or delete it if it has finished.", whole)
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
        }

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
