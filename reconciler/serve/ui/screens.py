"""What is shown on which screen. Each reads the fleet in memory and the store, and waits for no machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

from starlette.requests import Request

from reconciler.api.registry import kind_of
from reconciler.api.status.vmtree import VMTreeStatus
from reconciler.core.keys import Key, as_map, as_maps
from reconciler.engine.ports import Event, StoredObject
from reconciler.errors import NotFound, ReconcilerError
from reconciler.serve.api.asking import field, number
from reconciler.serve.api.reading import capacity_document, fleet_rows, named, wrong_declarations
from reconciler.serve.surface import Surface
from reconciler.views.board import Row, Standing, ordered
from reconciler.views.documents import text_at
from reconciler.views.forecast import Forecast
from reconciler.views.nodes import limit_table, node_table, tree_spec
from reconciler.views.spent import DAYS, costs, of_agent
from reconciler.views.talk import shortened, turns
from reconciler.views.tree import Forest

T = TypeVar("T")
ROWS = 100
"""Rows of one page of a list."""
TURNS = 40
SAID = 6000
RESULT = 2000
"""Characters of a message, and of a tool's result, on a page."""
MOST_EVENTS = 500
SECTION_EVENTS = 20
SECTION_TASKS = 20

Shown = dict[str, object]


@dataclass(frozen=True, slots=True)
class Paged:
    """A piece of a list. `number`: of the page, from 1."""

    rows: Sequence[object]
    number: int
    pages: int
    total: int


def paged(rows: Sequence[T], request: Request) -> Paged:
    pages = max(1, -(-len(rows) // ROWS))
    at = min(number(request, "page", 1, 1 << 30), pages)
    return Paged(rows[(at - 1) * ROWS : at * ROWS], at, pages, len(rows))


def namespaces(here: Surface) -> list[str]:
    return sorted({key.namespace for key in here.board.rows})


def href(key: Key) -> str:
    """The screen of an object, '' when it has none."""
    rooms = {"Lieutenant": "lieutenants", "Task": "tasks", "VMTree": "trees"}
    return f"/{rooms[key.kind]}/{quote(key.namespace, '')}/{quote(key.name, '')}" if key.kind in rooms else ""


def _matching(rows: Iterable[Row], words: str) -> list[Row]:
    """Those in which every word is found."""
    wanted = words.lower().split()

    def text(row: Row) -> str:
        return " ".join((row.key.namespace, row.key.name, row.phase, row.reason, row.message, row.of, row.vm)).lower()

    return [row for row in rows if not wanted or all(word in text(row) for word in wanted)]


async def fleet(request: Request, here: Surface) -> Shown:
    """Lieutenants and trees, what needs a person first."""
    found = _matching(fleet_rows(here, field(request, "namespace")), field(request, "q"))
    counts = Counter(row.standing for row in found)
    wanted = field(request, "standing")
    rows = [row for row in found if not wanted or row.standing == wanted]
    return {
        "title": "Fleet",
        "list": paged(rows, request),
        "counts": [(one.value, counts[one]) for one in Standing],
        "namespaces": namespaces(here),
        "capacity": capacity_document(here),
        "wrong": wrong_declarations(here),
        "live": "",
    }


async def tasks(request: Request, here: Surface) -> Shown:
    """Tasks, those that need a person and those that work first, then the newest."""
    of, phase, namespace = field(request, "lieutenant"), field(request, "phase"), field(request, "namespace")
    every = (row for row in here.board.rows.values() if row.key.kind == "Task" and (not namespace or row.key.namespace == namespace))
    found = [row for row in _matching(every, field(request, "q")) if not of or row.of == of]
    phases = Counter(row.phase or "Pending" for row in found)
    rows = [row for row in found if not phase or row.phase == phase]
    rows.sort(key=lambda row: (row.standing not in (Standing.NEEDS_YOU, Standing.WORKING), -row.created_at, row.key))
    return {
        "title": "Tasks",
        "list": paged(rows, request),
        "phases": sorted(phases.items()),
        "namespaces": namespaces(here),
        "live": "kind=task",
    }


async def task(request: Request, here: Surface) -> Shown:
    """One task with what it came to."""
    obj = here.object(_key(request, "Task"))
    result = as_map(obj.status.get("result"))
    return {
        "title": obj.key.name,
        "obj": obj,
        "row": here.row(obj),
        "prompt": text_at(obj.spec, ".prompt"),
        "result": result,
        "usage": as_map(result.get("usage")),
        "attempts": as_maps(obj.status.get("attempts")),
        "asks": as_maps(obj.status.get("asks")),
        "events": await _events_of(here, obj.key),
        "live": _live(obj.key),
    }


async def lieutenant(request: Request, here: Surface) -> Shown:
    """One agent: what it says, its work, its machine, what happened, and what is to come."""
    obj = here.object(_key(request, "Lieutenant"))
    before = number(request, "before", 0, 1 << 50) or None
    talk = await here.talk(obj, before, TURNS)
    own = here.tasks_of(obj.key)
    said = tuple(shortened(one, SAID if one.role != "toolResult" else RESULT) for one in talk.messages)
    return {
        "title": obj.key.name,
        "obj": obj,
        "row": here.row(obj),
        "talk": talk,
        "turns": turns(said),
        "tasks": [here.row(task) for task in own[:SECTION_TASKS]],
        "more_tasks": max(0, len(own) - SECTION_TASKS),
        "spent": of_agent(here.engine.books(), obj.key.namespace, obj.key.name),
        "days": DAYS,
        "vm": as_map(obj.status.get("vm")),
        "agent": as_map(obj.status.get("agent")),
        "boot": as_map(obj.status.get("boot")),
        "events": await _events_of(here, obj.key),
        "forecast": await _foreseen(here, obj.key) if field(request, "plan") else None,
        "live": _live(obj.key, field(request, "before")),
    }


async def trees(request: Request, here: Surface) -> Shown:
    """Every hierarchy, and what stands in none, as `reconciler tree` shows them."""
    namespace = field(request, "namespace")
    rows = ordered(row for row in here.board.rows.values() if row.key.kind == "VMTree" and namespace in ("", row.key.namespace))
    return {"title": "Trees", "list": paged(rows, request), "namespaces": namespaces(here), "live": "kind=vmtree"}


async def tree(request: Request, here: Surface) -> Shown:
    """One hierarchy with its nodes and limits."""
    obj = here.object(_key(request, "VMTree"))
    status, spec = VMTreeStatus.load(obj.status), tree_spec(obj)
    kinds = ("VMTree", "Lieutenant", "Task", "BootProfile")
    around = [one for kind in kinds for one in here.objects(kind, obj.key.namespace)]
    around += [item.obj for item in here.engine.table.of_kind("Machine") if item.key.namespace == obj.key.namespace]
    return {
        "title": obj.key.name,
        "obj": obj,
        "row": here.row(obj),
        "branch_of": Forest(around).tree(obj),
        "nodes": node_table(status),
        "limits": limit_table(spec, status) if spec is not None else None,
        "events": await _events_of(here, obj.key),
        "live": f"namespace={quote(obj.key.namespace)}",
    }


async def events(request: Request, here: Surface) -> Shown:
    """What happened, newest first."""
    of, kind, words = field(request, "for"), field(request, "type"), field(request, "q").lower().split()
    found = await here.store.events(named(of) if of else None, limit=MOST_EVENTS, namespace=field(request, "namespace") or None)

    def fits(event: Event) -> bool:
        text = f"{event.key} {event.reason} {event.message}".lower()
        return (not kind or event.type == kind) and all(word in text for word in words)

    rows = [event for event in reversed(found) if fits(event)]
    return {"title": "Events", "list": paged(rows, request), "namespaces": namespaces(here), "live": ""}


async def plan(request: Request, here: Surface) -> Shown:
    """What the loop would do from here, of all or of one object."""
    of = field(request, "for")
    return {"title": "Plan", "forecast": await _foreseen(here, named(of) if of else None), "of": of, "live": None}


async def capacity(request: Request, here: Surface) -> Shown:
    """Machines, limits and what stands in the way of more."""
    return {"title": "Capacity", "capacity": capacity_document(here), "live": ""}


async def spending(request: Request, here: Surface) -> Shown:
    """What was spent, by whom and when."""
    found = costs(here.engine.books(), DAYS, field(request, "namespace") or None)
    return {"title": "Costs", "costs": found, "days": DAYS, "namespaces": namespaces(here), "live": "kind=task"}


async def _events_of(here: Surface, key: Key) -> list[Event]:
    return list(reversed(await here.store.events(key, limit=SECTION_EVENTS)))


async def _foreseen(here: Surface, of: Key | None) -> Forecast | ReconcilerError:
    """The plan, of one object where one is named; or why there is none."""
    if here.foresight is None:
        return NotFound("there is no plan here", "", "`reconciler plan --kube` shows what an apply would change")
    try:
        whole = await here.foresight()
    except ReconcilerError as error:
        return error
    if of is None:
        return whole
    mine = {of, *(task.key for task in here.tasks_of(of))} if of.kind == "Lieutenant" else {of}
    planned = [one for one in whole.planned if one.key in mine]
    pending = [one for one in whole.pending if one.key in mine]
    prunes = [one for one in whole.prunes if mine & one.keys]
    return Forecast(planned, whole.inputs_hash, whole.refused, pending, whole.cut, prunes)


def _key(request: Request, kind: str) -> Key:
    return Key(kind, request.path_params["namespace"], request.path_params["name"])


def _live(key: Key, still: str = "") -> str | None:
    """Which changes a screen follows; None: it stays as it is."""
    return None if still else f"namespace={quote(key.namespace)}"


def known_kind(word: str) -> str:
    found = kind_of(word)
    return found.name if found is not None else word


def object_of(here: Surface, room: str, namespace: str, name: str) -> StoredObject:
    """The object whose screen this is. Raises `NotFound`."""
    kinds = {"lieutenants": "Lieutenant", "tasks": "Task", "trees": "VMTree"}
    return here.object(Key(kinds[room], namespace, name))
