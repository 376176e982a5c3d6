"""What agents remember, over HTTP. It is in this store and nowhere else, so an operator's API changes it too."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from reconciler.core.governance.memory import Book, Whose, agent_key
from reconciler.core.keys import Json, JsonValue
from reconciler.serve.api.asking import answer, json_body, only, surface
from reconciler.serve.guard import api_actor
from reconciler.serve.surface import Surface
from reconciler.views.remembered import book_document

MEMORY_BODY = 8 << 20
"""Bytes of a request: a whole memory fits, whatever its characters."""


def whose_of(request: Request) -> Whose:
    """The memory that a path means: of a lieutenant, or the one of a namespace."""
    return Whose(request.path_params["namespace"], request.path_params.get("name", ""))


async def known(here: Surface, whose: Whose) -> Book:
    """As it is in the store. Raises `NotFound` where there is neither a memory nor a lieutenant."""
    book = Book.of(await here.store.memory(whose.namespace, whose.owner))
    if whose.owner and not book.entries and not book.gone:
        here.object(agent_key(whose))
    return book


async def remembered(request: Request) -> Response:
    """All of one memory."""
    whose = whose_of(request)
    return answer(request, book_document(whose, await known(surface(request), whose)))


async def _change(here: Surface, whose: Whose, asked: Json) -> JsonValue:
    only(asked, "add", "remove", "by")
    changes: Json = {"add": asked.get("add", []), "remove": asked.get("remove", []), "by": asked.get("by", "")}
    return await here.remember({"op": "memory", "namespace": whose.namespace, "owner": whose.owner, **changes})


async def change(request: Request) -> Response:
    """Add entries, and remove those with these ids. `by`: who asks, by their own word, for the audit."""
    here = surface(request).acting(api_actor(request))
    return answer(request, await _change(here, whose_of(request), await json_body(request, MEMORY_BODY)))
