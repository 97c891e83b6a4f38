"""The example that a server serves if no application is given. It answers C{/person/get/123/}."""

from __future__ import annotations

from typing import Any


def get_object(object_type: str, object_id: str) -> dict[str, Any]:
    """Return an object by its type and id."""
    return {"object_type": object_type, "object_id": object_id}


url_patterns = ((r"/(?P<object_type>)/get/(?P<object_id>)/", get_object),)
