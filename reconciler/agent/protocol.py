"""What is said on a keeper's socket: JSON lines (docs/keeper-protocol.md). Here are only the words, no input or output.

A request is `{id, op, epoch, …}`; its answer `{id, ok: true, …}` or `{id, error: {code, message, …}}`; unasked for come
`{event: {seq, at, event, …}}`, `{live: {text}}` and `{gap: {from, to}}`."""

from __future__ import annotations

import base64
import json
import re
import signal as signals
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from reconciler.core.conversation import storable
from reconciler.core.keys import Json, JsonValue
from reconciler.core.snapshot.agent import (
    Accepted,
    Agent,
    Compacting,
    Declined,
    Exited,
    Guarded,
    Inside,
    Lost,
    NotStarted,
    Process,
    Question,
    Refusal,
    Refusals,
    RunningTool,
    Unanswered,
    Unheard,
    Up,
    Verdict,
)
from reconciler.core.snapshot.memory import OnMachine, Taken
from reconciler.errors import Conflict, GuestFailed, GuestUnreachable, ReconcilerError, StaleEpoch

if TYPE_CHECKING:
    from reconciler.engine.ports import Launch

_MOST_ASKS: Final = 100
_MOST_REFUSED: Final = 20
KEEPER_VERSION: Final = "1-8df88f26d008"
"""Protocol and digest of the keeper's program; a test holds the digest to the files."""

PROTOCOLS: Final = (1,)
"""Protocols this controller speaks, all that were ever released."""

LARGEST: Final = 1 << 53
"""Numbers that a keeper counts or measures are smaller: it is a program in JavaScript."""
_UNSTORABLE: Final = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")

_NOT_NOW: Final = ("NotAnswering", "Deadline", "NotRunning", "Foreign")


def encode(message: Mapping[str, object]) -> bytes:
    """One line. Fields that are None are left out: a null ends pi (pi-rpc §0.10)."""
    return json.dumps({k: v for k, v in message.items() if v is not None}, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def decode(line: bytes) -> Json:
    """One line as an object, without characters that no store can hold. Raises `GuestUnreachable` when it is none: what answers there
    is no keeper."""
    said = line.decode("utf-8", "replace")
    try:
        message = json.loads(said, parse_constant=_no_number)
        if _UNSTORABLE.search(said):
            message = _storable(message)
    except (ValueError, RecursionError) as error:
        raise GuestUnreachable("the keeper said something that is no JSON", remedy=type(error).__name__) from error
    if not isinstance(message, dict):
        raise GuestUnreachable("the keeper said something that is no JSON object")
    return message


def _no_number(word: str) -> JsonValue:
    raise ValueError(f"{word} is no number in JSON")


def _storable(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_storable(one) for one in value]
    if isinstance(value, dict):
        return {storable(name): _storable(one) for name, one in value.items()}
    return value


class Lines:
    """Bytes in, whole lines out; a line may be of any length and come in any pieces."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def add(self, data: bytes) -> list[bytes]:
        first, *rest = data.split(b"\n")
        self._pieces.append(first)
        if not rest:
            return []
        whole = b"".join(self._pieces)
        self._pieces = [rest[-1]] if rest[-1] else []
        return [whole, *rest[:-1]]


def error_of(error: JsonValue, where: str) -> ReconcilerError:
    """The exception for a keeper's refusal: what would be right a moment later is transient, the rest is terminal."""
    facts = obj(error)
    code, message = text(facts, "code"), text(facts, "message")
    what = f"{message} [{code}]"
    if code == "StaleEpoch":
        return StaleEpoch(what, where, "another controller is in charge of this machine")
    if code in _NOT_NOW:
        return GuestUnreachable(what, where)
    if code == "AlreadyRunning":
        return Conflict(what, where)
    if code == "NoCommonProtocol":
        return GuestFailed(what, where, "stop the agent, so that its keeper can be replaced")
    return GuestFailed(what, where, exit_code=whole(facts, "exitCode"), tail=text(facts, "stderrTail"))


def verdict_of(value: JsonValue) -> Verdict:
    """What became of a command. Raises `GuestFailed` for a state we don't know."""
    facts = obj(value)
    match text(facts, "state"):
        case "accepted":
            return Accepted(text(facts, "disposition"))
        case "declined":
            return Declined(text(facts, "error"))
        case "lost":
            return Lost(text(facts, "why"))
        case "unheard":
            return Unheard()
        case "unanswered":
            return Unanswered()
        case other:
            raise GuestFailed(f"the keeper told a verdict {other!r} that is not known here", remedy="upgrade the controller")


def process_of(value: JsonValue, now: float) -> Process:
    """pi, as the keeper describes it. `now`: the controller's clock; a start is told by its age, not by the guest's clock."""
    facts = obj(value)
    match text(facts, "state"):
        case "none":
            return NotStarted()
        case "up":
            return Up(
                pid=whole(facts, "pid") or 0,
                started_at=now - number(facts, "ageMs") / 1000,
                launch_hash=text(facts, "launchHash"),
                session_file=text(facts, "sessionFile"),
                responsive=facts.get("responsive") is True,
                busy=facts.get("busy") is not False,
                pending=whole(facts, "pending") or 0,
                model=text(facts, "model") or None,
                thinking=text(facts, "thinking") or None,
                session_id=text(facts, "sessionId") or None,
                activity=whole(facts, "activity") or 0,
                inside=inside_of(facts.get("inside")),
                tool=tool_of(facts.get("tool"), now),
                work=whole(facts, "work") or 0,
                guard=guard_of(facts.get("guard"), now),
                memory=taken_of(facts.get("memory")),
                compacting=compacting_of(facts),
                sandbox=text(obj(facts.get("sandbox")), "hash")[:64],
                refused=refusals_of(facts.get("refused")),
                retry_after=max(0.0, number(facts, "retryAfterMs") / 1000),
            )
        case "exited":
            return Exited(
                at=number(facts, "at"),
                exit_code=whole(facts, "exitCode"),
                signal=text(facts, "signal") or None,
                stderr_tail=text(facts, "stderrTail"),
                launch_hash=text(facts, "launchHash"),
            )
        case other:
            raise GuestFailed(f"the keeper told a state {other!r} of pi that is not known here", remedy="upgrade the controller")


def tool_of(value: JsonValue, now: float) -> RunningTool | None:
    """The tool that runs; its start is told by its age, not by the guest's clock."""
    facts = obj(value)
    name = text(facts, "name")
    return RunningTool(name[:100], now - max(0.0, number(facts, "ageMs")) / 1000) if name else None


def launch_facts(launch: Launch) -> Json:
    """A launch as the keeper takes it."""
    return {
        "argv": [*launch.command, *launch.argv],
        "env": dict(launch.env),
        "workDir": launch.work_dir,
        "agentDir": launch.agent_dir,
        "sessionFile": launch.session_file,
        "launchHash": launch.launch_hash,
        **({"guard": launch.guard} if launch.guard else {}),
        **({"memory": launch.memory} if launch.memory else {}),
        **({"compaction": compaction_facts(launch.compacting)} if launch.compacting else {}),
        **({"sandbox": launch.sandbox} if launch.sandbox else {}),
    }


def compaction_facts(wanted: Compacting) -> Json:
    """As pi's settings have it."""
    return {"enabled": wanted.auto, "reserveTokens": wanted.reserve_tokens, "keepRecentTokens": wanted.keep_recent_tokens}


def guard_of(value: JsonValue, now: float) -> Guarded | None:
    """What its tool calls are checked against, and which of them wait for a person."""
    facts = obj(value)
    if not text(facts, "hash"):
        return None
    told = facts.get("asks")
    asks = [obj(one) for one in told[:_MOST_ASKS]] if isinstance(told, list) else []
    return Guarded(
        text(facts, "base"),
        text(facts, "hash"),
        tuple(
            Question(
                text(one, "id")[:64],
                text(one, "call")[:2000],
                text(one, "part")[:500],
                text(one, "rule")[:300],
                text(one, "level")[:30],
                now - max(0.0, number(one, "ageMs")) / 1000,
            )
            for one in asks
        ),
    )


def refusals_of(value: JsonValue) -> Refusals:
    """What was refused, as far as it is told: a bounded number of bounded words."""
    said = [obj(one) for one in value[:_MOST_REFUSED]] if isinstance(value, list) else []
    return Refusals(tuple(_refusal(one) for one in said))


def _refusal(one: Json) -> Refusal:
    times = whole(one, "times") or 1
    told = f"{text(one, 'told')[:300]} ({times} times)" if times > 1 else text(one, "told")[:300]
    return Refusal(whole(one, "n") or 0, text(one, "what")[:20], told, text(one, "rule")[:300], text(one, "level")[:30])


def there_of(value: JsonValue) -> OnMachine | None:
    """Which entries are there; None from a keeper of a release that knows of none."""
    facts = obj(value)
    return OnMachine(text(facts, "owner")[:600], text(facts, "agent")[:64], text(facts, "global")[:64]) if "agent" in facts else None


def taken_of(value: JsonValue) -> Taken | None:
    """What pi was given; None for a pi without a memory."""
    if not isinstance(value, dict):
        return None
    return Taken(text(value, "given")[:64], text(value, "has")[:64], text(value, "missing")[:500])


def inside_of(value: JsonValue) -> Inside | None:
    """What pi was told, as our extension in it says; None when it has not said."""
    facts = obj(value)
    prompt = text(facts, "prompt")
    return Inside(prompt, {path: str(digest) for path, digest in obj(facts.get("context")).items()}) if prompt else None


def compacting_of(process: Json) -> Compacting | None:
    """How pi shortens its conversation, as it says itself; None when it has not said. Whether it does so by itself can be changed while
    it runs, so its state tells of that."""
    facts = obj(obj(process.get("inside")).get("compaction"))
    reserve, keep = whole(facts, "reserveTokens"), whole(facts, "keepRecentTokens")
    auto = process.get("autoCompaction", facts.get("enabled"))
    return None if reserve is None or keep is None else Compacting(auto is True, reserve, keep)


def agent_of(facts: Json, session_file: str, now: float) -> Agent:
    """The keeper's report, from its answer to `observe`."""
    return Agent(
        keeper_version=text(facts, "keeperVersion"),
        epoch=whole(facts, "epoch") or 0,
        process=process_of(facts.get("process"), now),
        session_file=session_file,
        session_size=whole(facts, "sessionSize") or 0,
        seq=whole(facts, "seq") or 0,
        output_blocked=facts.get("outputBlocked") is True,
        memory=there_of(facts.get("memory")),
    )


# --- fields of an answer; a wrong type reads as missing ---------------------------------------------------------------------


def obj(value: JsonValue) -> Json:
    return value if isinstance(value, dict) else {}


def unwritten_of(facts: Json) -> int:
    """How often a keeper could not write since its start: of all that it survived and counts what a person can do something about."""
    counters = obj(facts.get("counters"))
    return sum(whole(counters, name) or 0 for name in counters if name.endswith("NotWritten"))


def text(facts: Json, name: str) -> str:
    value = facts.get(name)
    return value if isinstance(value, str) else ""


def whole(facts: Json, name: str) -> int | None:
    value = facts.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST else None


def number(facts: Json, name: str) -> float:
    value = facts.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST else 0.0


def epoch_of(claim: Mapping[str, str]) -> int:
    """Of a claim file. Raises `GuestFailed` where it has none."""
    try:
        return int(claim.get("epoch", ""))
    except ValueError:
        raise GuestFailed("the claim has no epoch", claim.get("vmId", "")) from None


def signal_number(facts: Json) -> int | None:
    """Of the signal that is named in `signal`; None when there is none of that name."""
    found = signals.Signals.__members__.get(text(facts, "signal"))
    return int(found) if found is not None else None


def binary(facts: Json, name: str) -> bytes:
    """Bytes, which travel as base64; b'' when they are missing. Raises `GuestFailed` for what is none."""
    try:
        return base64.b64decode(text(facts, name), validate=True)
    except ValueError:
        raise GuestFailed("the keeper told bytes that can't be read", name) from None
