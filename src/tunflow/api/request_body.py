"""The body of a request: an object in JSON, of bounded size."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from starlette.requests import Request

from tunflow.api.facts import Unanswerable
from tunflow.single_values import TwoValues, json_value

BODY = 64 * 1024
"""Bytes of a request's body at most."""


async def body_object(request: Request) -> dict[str, Any]:
    """The object in a request's body. Raises Unanswerable."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY:
            raise Unanswerable(f"the body is over {BODY} bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    try:
        found = json_value(body)
    except TwoValues as error:
        raise Unanswerable(f"in the body {error}") from None
    except ValueError:
        raise Unanswerable("the body is not JSON") from None
    if not isinstance(found, dict):
        raise Unanswerable("the body is not an object")
    return found
