"""What is shown of the fleet as JSON. Nothing here waits for a machine, and nothing is decided."""

from __future__ import annotations

from collections import Counter
from importlib import metadata

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reconciler.api.registry import kind_of
from reconciler.core.attention import OF_DECLARATIONS, Attention, attention_of, attention_of_repository
from reconciler.core.keys import Json, JsonValue, Key, short
from reconciler.core.spending.ledger import DAYS as LEDGER_DAYS
from reconciler.engine.ports import StoredObject
from reconciler.errors import NotFound, UsageError
from reconciler.serve.api.asking import after_mark, answer, field, key, kind, mark_of, number, surface
from reconciler.serve.api.openapi import openapi
from reconciler.serve.surface import EVENTS, Surface
from reconciler.views.board import Row, Standing, ordered
from reconciler.views.documents import document, event_document, list_of
from reconciler.views.selecting import matches, selectable
from reconciler.views.spent import DAYS, costs
from reconciler.views.talk import MOST_MESSAGES

WRONG = 20
"""Of repositories and profiles that need a person so many are told at once; `reconciler get attention` has all of them."""
MOST = 1000
PAGE = 500
PAGE_BYTES = 8 << 20
"""A page of a list ends here, whatever its limit; it has one object at least."""


async def version(request: Request) -> Response:
    """What serves this, and which addresses there are."""
    told: Json = {"product": "reconciler", "version": metadata.version("reconciler"), "openapi": "/api/v1/openapi.json"}
    return JSONResponse(told)


async def described(request: Request) -> Response:
    """The description of this API."""
    return JSONResponse(openapi())


async def objects(request: Request) -> Response:
    """Objects of a kind, a page at a time."""
    here = surface(request)
    of, namespace = kind(request.path_params["kind"]), field(request, "namespace")
    selector, standing, phase = field(request, "labelSelector"), field(request, "standing"), field(request, "phase")
    if selector:
        matches({}, selector)
    if standing and standing not in set(Standing):
        raise UsageError(f"unknown standing {standing[:40]!r}", "standing", f"use one of {', '.join(Standing)}")
    limit, after = number(request, "limit", PAGE, MOST), after_mark(field(request, "continue"))

    def fits(obj: StoredObject) -> bool:
        row = here.board.rows.get(obj.key)
        return (
            (obj.key.namespace, obj.key.name) > after
            and (not selector or matches(selectable(obj), selector))
            and (not standing or (row is not None and row.standing == standing))
            and (not phase or (row is not None and row.phase == phase))
        )

    found = [obj for obj in here.objects(of.name, namespace) if fits(obj)]
    items: list[Json] = []
    size, signers = 0, here.engine.declarations.prunes.signers
    for obj in found[:limit]:
        doc = document(obj, signers)
        size += len(orjson.dumps(doc, option=orjson.OPT_NON_STR_KEYS))
        if items and size > PAGE_BYTES:
            break
        items.append(doc)
    told: Json = {"resourceVersion": str(here.engine.revision)}
    left = len(found) - len(items)
    if left:
        told |= {"continue": mark_of(found[len(items) - 1].key), "remainingItemCount": left}
    return answer(request, {**list_of(items), "metadata": told})


async def one(request: Request) -> Response:
    """One object."""
    here = surface(request)
    return answer(request, document(here.object(key(request)), here.engine.declarations.prunes.signers))


async def rows(request: Request) -> Response:
    """The fleet by who has to do something about it: a short row for each object."""
    here = surface(request)
    found = fleet_rows(here, field(request, "namespace"))
    limit, offset = number(request, "limit", PAGE, MOST), number(request, "offset", 0, 1 << 30, least=0)
    counted = Counter(row.standing for row in found)
    counts: Json = {one.value: counted[one] for one in Standing}
    told: list[JsonValue] = [row.document for row in found[offset : offset + limit]]
    return answer(request, {"counts": counts, "total": len(found), "items": told})


async def events(request: Request) -> Response:
    """What happened, newest last."""
    here = surface(request)
    limit, after = number(request, "limit", 200, EVENTS), number(request, "after", 0, 1 << 60, least=0)
    of, namespace = field(request, "for"), field(request, "namespace") or None
    found = await here.store.events(named(of) if of else None, after=after, limit=limit, namespace=None if of else namespace)
    told = [{**event_document(event), "seq": event.seq} for event in found]
    return answer(request, {**list_of(told), "metadata": {"after": max((event.seq for event in found), default=after)}})


def named(text: str) -> Key:
    """KIND/NAMESPACE/NAME. Raises `UsageError`."""
    words = text.split("/", 2)
    found = kind_of(words[0])
    if found is None or len(words) != 3:
        raise UsageError(f"is not KIND/NAMESPACE/NAME: {text[:60]!r}", "for", "write for example lieutenant/default/api")
    return Key(found.name, words[1], words[2])


async def plan(request: Request) -> Response:
    """What the loop would do from here, by its own code."""
    here = surface(request)
    if here.foresight is None:
        raise NotFound("there is no plan here", "/api/v1/plan", "use `reconciler plan`")
    return answer(request, (await here.foresight()).document())


async def capacity(request: Request) -> Response:
    """Machines, limits and what stands in the way of more."""
    return answer(request, capacity_document(surface(request)))


def capacity_document(here: Surface) -> Json:
    """As the last list of the platform and the breakers have it."""
    fleet, queue = here.engine.fleet_state(), here.engine.queue_state()
    orphans: list[JsonValue] = [*sorted(fleet.orphans)]
    return {
        "vms": dict(fleet.vms),
        "total": sum(fleet.vms.values()),
        "maxVMs": here.max_vms,
        "breaker": fleet.breaker,
        "platform": fleet.platform,
        "halted": fleet.halted,
        "providers": dict(fleet.providers),
        "orphans": orphans,
        "failingDeletes": fleet.failing_deletes,
        "queue": {"depth": queue.depth, "oldestSeconds": round(queue.oldest, 3)},
    }


async def usage(request: Request) -> Response:
    """Tokens and money, as the books tell."""
    days = number(request, "days", DAYS, LEDGER_DAYS)
    return answer(request, costs(surface(request).engine.books(), days, field(request, "namespace") or None).document())


async def conversation(request: Request) -> Response:
    """What was said, from the mirror in the store: the last messages, or those before an offset."""
    here = surface(request)
    obj = here.object(key(request, "Lieutenant"))
    before = number(request, "before", 0, 1 << 50) or None
    after = number(request, "after", 0, 1 << 50, least=0)
    found = await here.talk(obj, before, number(request, "limit", 50, MOST_MESSAGES), after)
    return answer(request, {"lieutenant": obj.key.name, "namespace": obj.key.namespace, **found.document()})


def wrong_declarations(here: Surface) -> list[tuple[str, Attention]]:
    """What needs a person where things are declared, and has no row of its own among lieutenants and trees: repositories and profiles."""
    rows = here.engine.declarations.prunes.repositories.values()
    repositories = [(f"repository/{one[0]}", one[1]) for row in rows if (one := attention_of_repository(row)) is not None]
    profiles = [(short(obj.key), needed) for obj in here.objects("BootProfile") if (needed := attention_of(obj.status)) is not None]
    return [*repositories, *(one for one in profiles if one[1].reason in OF_DECLARATIONS)][:WRONG]


def fleet_rows(here: Surface, namespace: str = "") -> list[Row]:
    """Lieutenants and trees, what needs a person first."""
    found = (row for row in here.board.rows.values() if row.key.kind in ("Lieutenant", "VMTree"))
    return ordered(row for row in found if not namespace or row.key.namespace == namespace)
