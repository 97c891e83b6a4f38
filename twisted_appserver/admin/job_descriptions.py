"""The paths of background calls, and the header that asks for one, as OpenAPI describes them."""

from __future__ import annotations

from typing import Any

from twisted_appserver.admin.response_descriptions import BYTES, JSON
from twisted_appserver.admin.schemas import BINARY, Schemas

PREFER = {
    "name": "Prefer",
    "in": "header",
    "description": "respond-async makes the call a job: the response is 202, with its address (RFC 7240).",
    "schema": {"type": "string"},
}
PREFER_REFERENCE = {"$ref": "#/components/parameters/Prefer"}
TEXT = {"type": "string"}
ACCEPTED = {
    # Its body is left out: with it, every generated function would return a job or the result, and every
    # caller would have to tell them apart, although only those who send the header get a job.
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


class JobDescriptions:
    """
    Describe jobs.

    @param schemas: the schemas of the document.
    """

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas

    def add_to(self, operation: dict[str, Any]) -> None:
        """Describe that a call of a function can become a job."""
        operation.setdefault("parameters", []).append(PREFER_REFERENCE)
        operation["responses"]["202"] = ACCEPTED

    def paths(self) -> dict[str, dict[str, Any]]:
        """Return the operations of jobs, by path and method."""
        add = self._schemas.add
        summary = {"type": "object", "title": "JobSummary", "properties": SUMMARY, "required": [*SUMMARY]}
        progress: dict[str, Any] = {
            "progress": {"description": "The last item of a generator."},
            "result": {"description": "What the function returned."},
            "error": self._schemas.problem,
        }
        job = add("Job", {**summary, "title": "Job", "properties": {**SUMMARY, **progress}})
        properties = {
            "jobs": {"type": "array", "items": add("JobSummary", summary)},
            "total": {"type": "integer"},
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
        del listed["parameters"]
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
