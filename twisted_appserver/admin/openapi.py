"""The OpenAPI 3.1 document of a table: made from patterns, signatures, annotations and docstrings."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

from twisted_appserver.admin.docstrings import read_docstring
from twisted_appserver.admin.function_names import function_names
from twisted_appserver.admin.job_descriptions import PARAMETERS, JobDescriptions
from twisted_appserver.admin.operation_ids import operation_ids
from twisted_appserver.admin.operation_plan import METHODS, OperationPlan, PlannedOperation
from twisted_appserver.admin.request_descriptions import RequestDescription
from twisted_appserver.admin.response_descriptions import describe_responses
from twisted_appserver.admin.schemas import Schemas
from twisted_appserver.core.conversions.annotations import unwrap
from twisted_appserver.core.handler import Handler
from twisted_appserver.core.path_templates import UndescribableError

SECURITY = {  # RFC 6750 and RFC 7617, by the names of schemes
    "bearer": {"type": "http", "scheme": "bearer", "description": "The token of --token-file."},
    "basic": {"type": "http", "scheme": "basic", "description": "A name and a password that --auth accepts."},
}


class OpenAPIDocument:
    """
    Serve the OpenAPI document of a service. It is made again after a reload.

    @param service: an L{AppService}.
    """

    def __init__(self, service: Any) -> None:
        self._service = service
        # A weak reference to the router of the document, so that a reload can free the previous router.
        self._router: Any = bool
        self._schemes: tuple[str, ...] = ()
        self._document: dict[str, Any] = {}

    async def openapi(self) -> dict[str, Any]:
        """Return the document."""
        dispatcher = self._service.dispatcher
        router, credentials = dispatcher.router, dispatcher.guard.credentials
        schemes = () if credentials is None else credentials.schemes
        if self._router() is not router or self._schemes != schemes:
            self._router, self._schemes = weakref.ref(router), schemes
            info = self._service.info
            self._document = make_document(
                router.entries,
                info.title,
                version=info.version,
                description=info.description,
                jobs=dispatcher.jobs is not None and not dispatcher.jobs.unavailable,
                schemes=schemes,
            )
        return self._document


def make_document(
    entries: Iterable[Any],
    title: str,
    *,
    version: str = "0.1.0",
    description: str = "",
    jobs: bool = False,
    schemes: Sequence[str] = (),
) -> dict[str, Any]:
    """
    Make the document of a table.

    @param entries: the entries of a L{Router}.
    @param title: the title of the document.
    @param version: the version of the application.
    @param description: what the application is.
    @param jobs: whether calls can become jobs.
    @param schemes: how clients authenticate: C{bearer}, C{basic} or both.
    """
    plan, schemas = OperationPlan(entries), Schemas()
    background = JobDescriptions(schemas) if jobs else None
    components: dict[str, Any] = {"schemas": schemas.components}
    info = {"title": title, "version": version} | ({"description": description} if description else {})
    document: dict[str, Any] = {"openapi": "3.1.0", "info": info, "servers": [{"url": ".."}]}
    document["paths"] = _paths(plan, schemas, background)
    document["components"] = components
    if background is not None:
        document["paths"] |= background.paths()
        components["parameters"] = dict(PARAMETERS)
    if schemes:
        components["securitySchemes"] = {scheme: SECURITY[scheme] for scheme in schemes}
        _require(document, [{scheme: []} for scheme in schemes])
    if plan.missing:
        document["x-not-described"] = plan.not_described()
    return document


def _require(document: dict[str, Any], security: list[dict[str, Any]]) -> None:
    """Require credentials of each operation too, because some generators look only there."""
    document["security"] = security
    for item in document["paths"].values():
        for operation in item.values():
            if isinstance(operation, dict):
                operation["security"] = security


def _paths(
    plan: OperationPlan, schemas: Schemas, background: JobDescriptions | None
) -> dict[str, dict[str, Any]]:
    names = operation_ids((each.entry.handler.name, each.template, each.method) for each in plan.operations)
    functions = function_names(
        (each.entry.handler, names[each.entry.handler.name, each.template, each.method])
        for each in plan.operations
    )
    paths: dict[str, dict[str, Any]] = {}
    for each, function in zip(plan.operations, functions, strict=True):
        name = names[each.entry.handler.name, each.template, each.method]
        try:
            operation = _operation(each, name, schemas) | {"x-function": function}
        except UndescribableError as error:
            plan.omit(each.entry, each.method, str(error))
            continue
        if background is not None:
            background.add_to(operation, each.method)
        item = paths.setdefault(each.path, {})
        item[METHODS[each.method]] = operation
        if each.method == "QUERY":
            plan.omit(each.entry, "QUERY", "OpenAPI 3.1 has no QUERY operations; generators ignore x-query")
        if set(each.entry.regex) & set("[]()*+?|^$\\"):
            item.setdefault("x-regex", each.entry.regex)
    return paths


def _operation(planned: PlannedOperation, name: str, schemas: Schemas) -> dict[str, Any]:
    """Describe a function that is called with one method at one path."""
    handler: Handler = planned.entry.handler
    *_, function = unwrap(handler.original)
    documented = read_docstring(function)
    request = RequestDescription(handler, planned.method, planned.groups, planned.names, schemas, documented)
    operation: dict[str, Any] = {
        "operationId": name,
        "tags": ["functions"],
        "summary": documented.summary or handler.name,
    }
    if documented.text:
        operation["description"] = documented.text
    if request.parameters:
        operation["parameters"] = request.parameters
    if request.body is not None:
        operation["requestBody"] = request.body
    operation["responses"] = describe_responses(handler, schemas, documented.result)
    return operation
