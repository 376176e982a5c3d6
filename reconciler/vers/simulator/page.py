"""The page at `/`: VMs, commits and the last calls, plain HTML, everything escaped, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from reconciler.vers.simulator.world import World

_CALLS = 100
_ROWS = 500
_STYLE = (
    "body{font:14px system-ui,sans-serif;margin:2rem;color:#222;background:#fff}table{border-collapse:collapse;margin:0 0 2rem}"
    "th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #ddd;vertical-align:top}"
    "td{font-family:ui-monospace,monospace;font-size:13px}caption{text-align:left;font-weight:600;padding-bottom:.5rem}"
)


def render(world: World, guests: str) -> bytes:
    """The whole page; VMs newest first, at most 500 of each kind."""
    now = world.clock()
    world.sweep()
    vms = list(world.present.values())[::-1]
    vm_rows = (
        (
            vm.id,
            vm.state(now),
            "ours" if vm.owner == world.account.key_id else vm.owner,
            " ".join(f"{k}={v}" for k, v in sorted(vm.labels.items())),
            vm.parent_commit or "",
            world.stamp(vm.created_at),
        )
        for vm in vms[:_ROWS]
    )
    commits = list(world.commits.values())[::-1]
    commit_rows = ((c.id, c.name, c.parent_vm or "", world.stamp(c.created_at)) for c in commits[:_ROWS])
    calls = list(world.ledger.calls)[-_CALLS:][::-1]
    call_rows = ((str(e.seq), world.stamp(e.at), e.op, e.method, e.path, e.outcome or "…", e.fault) for e in calls)
    answered = sum(world.ledger.counts.values())
    facts = f"{len(vms)} VMs, {len(commits)} commits, {answered} calls, {world.ledger.in_flight} under way; guests: {guests}"
    body = (
        f"<h1>Simulated platform</h1><p>{escape(facts)}</p>"
        + _table("VMs", ("id", "state", "owner", "labels", "from commit", "created"), vm_rows)
        + _table("Commits", ("id", "name", "of VM", "created"), commit_rows)
        + _table("Last calls", ("#", "at", "operation", "method", "path", "outcome", "fault"), call_rows)
    )
    head = f'<meta charset="utf-8"><meta http-equiv="refresh" content="2"><title>Simulated platform</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'.encode()


def _table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(c)}</th>' for c in columns)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
