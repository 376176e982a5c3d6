"""Documents to models: one entry point, and problems that say where, what and how to mend it."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from reconciler.api.docstrings import descriptions
from reconciler.api.markers import BROKEN, Step
from reconciler.api.meta import API_VERSION, GROUP, Choice, Json, Model
from reconciler.api.registry import BY_NAME, INTERNAL
from reconciler.errors import InvalidSpec

if TYPE_CHECKING:
    from reconciler.api.resources import Resource, Spec


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a document. `path`: field names as documents write them, and indices; a missing field's path ends
    in its name. `message`: `what; remedy`. `wants`: the type that was expected there (`string`, `integer`, ...), else ''."""

    path: tuple[Step, ...]
    message: str
    wants: str = ""

    @property
    def field(self) -> str:
        """The path as people write it: `spec.env[1].name`."""
        return dotted(self.path)

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.path else self.message


def dotted(path: Sequence[Step]) -> str:
    """`('spec', 'env', 1, 'name')` → `spec.env[1].name`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def parse(doc: object) -> Resource | list[Problem]:
    """A whole document (the JSON reading of it) → its resource, or everything that is wrong with it. A null counts as left
    out, as an API server has it. Nothing is defaulted into the caller's document."""
    if not isinstance(doc, Mapping):
        return [Problem((), f"must be a map with apiVersion, kind, metadata and spec, not {_called(doc)}")]
    if wrong := list(_header(doc)):
        return wrong
    model = BY_NAME[str(doc["kind"])].model
    try:
        return model.model_validate(without_nulls(doc), by_alias=True, by_name=False)
    except ValidationError as error:
        return problems(model, error)


def load_spec(kind: str, spec: Json, *, tolerant: bool = False) -> Spec:
    """The `spec` part of a document → its model. `tolerant`: ignore fields that this version does not know (as a controller
    must that is older than the CRD). Raises `InvalidSpec` naming every problem, `InvalidSpec` also for an unknown kind."""
    known = BY_NAME.get(kind) or INTERNAL.get(kind)
    if known is None:
        raise InvalidSpec(f"kind {kind!r} is unknown", remedy=f"use one of {', '.join(BY_NAME)}")
    model = known.spec
    try:
        return model.model_validate(without_nulls(spec), by_alias=True, by_name=False, extra="ignore" if tolerant else None)
    except ValidationError as error:
        found = "; ".join(str(Problem(("spec", *one.path), one.message.removesuffix("; correct it"))) for one in problems(model, error))
        raise InvalidSpec(f"the {kind} is not valid: {found}", remedy="correct the fields named") from None


def validate_update(kind: str, old: Json, new: Json) -> list[Problem]:
    """What may not change between two valid specs of one object, with paths from `spec`. [] when all is well or either spec is
    not valid by itself (that is `parse`'s to say)."""
    try:
        before, after = load_spec(kind, old, tolerant=True), load_spec(kind, new, tolerant=True)
    except InvalidSpec:
        return []
    return changes_refused(before, after)


def changes_refused(before: Model, after: Model) -> list[Problem]:
    """`validate_update` of two specs of one kind that are loaded already."""
    return list(_changes(before, after, ("spec",)))


def problems(model: type[BaseModel], error: ValidationError) -> list[Problem]:
    """What pydantic found wrong with a document of `model`, located and in our words; values are never repeated, they may be
    secrets in the wrong place (enumerated ones aside)."""
    details = error.errors(include_url=False)
    deep = [detail["loc"] for detail in details]
    # A list whose items failed also reports that it is too short: that is no news.
    news = [
        d
        for d in details
        if d["type"] != "too_short" or not any(len(loc) > len(d["loc"]) and loc[: len(d["loc"])] == d["loc"] for loc in deep)
    ]
    found = [problem for detail in news for problem in _translate(model, detail)]
    return sorted(found, key=lambda problem: tuple((isinstance(step, str), str(step).zfill(8)) for step in problem.path))


def without_nulls(value: object) -> object:
    """The same document without the map entries that are null; lists keep theirs."""
    kind = type(value)
    if kind is str:  # most are; to ask whether something is a mapping costs more than all else here
        return value
    if kind is dict or isinstance(value, Mapping):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}  # type: ignore[attr-defined]
    if isinstance(value, list):
        return [without_nulls(inner) for inner in value]
    return value


def plain(model: BaseModel) -> Json:
    """The document form of a model, with what was set and nothing else (`InvalidSpec` can't arise)."""
    found: Json = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return found


# --- inside -----------------------------------------------------------------------------------------------------------------


def _header(doc: Mapping[object, object]) -> Iterator[Problem]:
    version, kind = doc.get("apiVersion"), doc.get("kind")
    if version != API_VERSION:
        given = version if isinstance(version, str) else None
        if given is None:
            yield Problem(("apiVersion",), f"required; write `apiVersion: {API_VERSION}`")
        elif given.partition("/")[0] == GROUP:
            yield Problem(("apiVersion",), f"version {given!r} is not served; use {API_VERSION}")
        else:
            yield Problem(("apiVersion",), f"{given!r} is not ours; use {API_VERSION}")
    if not isinstance(kind, str):
        yield Problem(("kind",), f"required; one of {', '.join(BY_NAME)}")
    elif kind not in BY_NAME:
        yield Problem(("kind",), f"{kind!r} is unknown{did_you_mean(kind, BY_NAME)}; use one of {', '.join(BY_NAME)}")


_WANTS = {"string_type": "string", "int_type": "integer", "int_from_float": "integer", "bool_type": "boolean"}
_LISTS = frozenset({"tuple_type", "list_type"})
_MAPS = frozenset({"model_type", "dict_type", "model_attributes_type"})


def _translate(root: type[BaseModel], detail: ErrorDetails) -> Iterator[Problem]:
    path, kind, context, given = _without_key_mark(tuple(detail["loc"])), detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == BROKEN:
        for more, message in context["told"]:
            yield Problem((*path, *more), message)
    elif kind == "missing":
        yield Problem(path, f"required; add it ({_described(root, path)})")
    elif kind == "extra_forbidden":
        known = _fields(_at(root, path[:-1]))
        meant = did_you_mean(str(path[-1]), known)
        yield Problem(path, f"unknown field{meant}; {'rename or remove it' if meant else _known(known)}")
    elif kind == "enum" or kind == "literal_error":
        choices = _choices(_at(root, path))
        wants = "" if isinstance(given, str) else "string"
        said = repr(given) if isinstance(given, str) else _called(given)
        yield Problem(path, f"must be one of {', '.join(choices)}, not {said}; {_hint(str(given), choices)}", wants)
    elif kind in _WANTS:
        hint = "; quote it" if kind == "string_type" and isinstance(given, bool | int | float) else _mend(_WANTS[kind])
        yield Problem(path, f"must be {_article(_WANTS[kind])}, not {_called(given)}{hint}", _WANTS[kind])
    elif kind in _LISTS:
        yield Problem(path, f"must be a list, not {_called(given)}; begin each item with `- `", "list")
    elif kind in _MAPS:
        yield Problem(path, f"must be a map, not {_called(given)}; write `name: value` lines below it", "map")
    else:
        yield Problem(path, _bound(kind, context))


def _bound(kind: str, context: Mapping[str, object]) -> str:
    match kind:
        case "greater_than_equal":
            return f"must be greater than or equal to {context['ge']}; raise it"
        case "less_than_equal":
            return f"must be less than or equal to {context['le']}; lower it"
        case "string_too_short":
            return "must not be empty; write what is meant"
        case "string_too_long":
            return f"must have at most {context['max_length']} characters; shorten it"
        case "too_short":
            return (
                "must not be empty; add an item"
                if context["min_length"] == 1
                else f"must have at least {context['min_length']} items; add some"
            )
        case "too_long":
            return f"must have at most {context['max_length']} items; split it"
        case "string_unicode":
            return "must be valid Unicode; remove the broken character"
        case _:
            return f"is not valid ({kind.replace('_', ' ')}); correct it"


def _mend(wanted: str) -> str:
    return {"integer": "; write a whole number without a unit", "boolean": "; write true or false"}.get(wanted, "")


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _called(value: object) -> str:
    """What a value is, without saying it: it may be a secret in the wrong place."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a number with a fraction"
        case str():
            return "a string"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "a map"
        case _:
            return "something else"


def _hint(word: str, choices: Sequence[str]) -> str:
    return did_you_mean(word, choices).strip(" ()") or "choose one"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean WORD?)`, '' when none of those that are known comes near."""
    folded = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), list(folded), n=1, cutoff=0.6)
    return f" (did you mean {folded[close[0]]}?)" if close else ""


def _known(names: Sequence[str]) -> str:
    return f"known here: {', '.join(names)}" if 0 < len(names) <= 30 else "remove it"


def _without_key_mark(path: tuple[Step, ...]) -> tuple[Step, ...]:
    """Pydantic marks what is wrong with a map's key, not its value, so; the path ends in the key either way."""
    return path[:-1] if path and path[-1] == "[key]" else path


def _at(root: type[BaseModel], path: Sequence[Step]) -> object:
    """The type that stands at `path`, with wrappers taken off; None when it can't be told."""
    here: object = root
    for step in path:
        if isinstance(here, type) and issubclass(here, Model):
            names = here.aliases()
            here = _bare(here.model_fields[names[str(step)]].annotation) if step in names else None
        elif get_origin(here) is tuple:
            here = _bare(get_args(here)[0])
        elif get_origin(here) is dict:
            here = _bare(get_args(here)[1])
        else:
            return None
    return here


def _bare(annotation: object) -> object:
    while True:
        origin, args = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            annotation = args[0]
        elif origin in (Union, types.UnionType):
            annotation = next(arg for arg in args if arg is not type(None))
        else:
            return annotation


def _fields(here: object) -> list[str]:
    return list(here.aliases()) if isinstance(here, type) and issubclass(here, Model) else []


def _choices(here: object) -> list[str]:
    if isinstance(here, type) and issubclass(here, Choice):
        return [str(member) for member in here]
    return [str(arg) for arg in get_args(here)]


def _described(root: type[BaseModel], path: Sequence[Step]) -> str:
    owner = _at(root, path[:-1])
    if isinstance(owner, type) and issubclass(owner, Model) and path[-1] in owner.aliases():
        text = descriptions(owner).get(owner.attribute(str(path[-1])), "")
        return text.split("\n")[0].split(". ")[0].split(";")[0].rstrip(".").replace("`", "")
    return "see `reconciler explain`"


def _changes(old: Model, new: Model, path: tuple[Step, ...]) -> Iterator[Problem]:
    if type(old) is not type(new):
        return
    for transition in type(new).transitions:
        for more, message in transition.check(old, new):
            yield Problem((*path, *more), message)
    for alias, name in type(new).aliases().items():
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, Model) and isinstance(after, Model):
            yield from _changes(before, after, (*path, alias))
        elif isinstance(before, tuple) and isinstance(after, tuple):
            known = {getattr(item, "name", None): item for item in before if isinstance(item, Model)}
            for index, item in enumerate(after):
                if isinstance(item, Model) and (match := known.get(getattr(item, "name", None))) is not None and hasattr(item, "name"):
                    yield from _changes(match, item, (*path, alias, index))
