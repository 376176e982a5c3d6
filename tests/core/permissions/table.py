"""The cases that both engines must answer alike, and the corpora; read from the files beside this one."""

from __future__ import annotations

import json
from pathlib import Path

from reconciler.core.governance.permissions.rules import Rules, level

HERE = Path(__file__).parent
TABLE = json.loads((HERE / "cases.json").read_text())


def commands(name: str) -> list[str]:
    """The lines of a corpus."""
    lines = (HERE / f"{name}.txt").read_text().splitlines()
    marked = (line for line in lines if line and not line.startswith("#"))
    return [line.replace("\\\\", "\0").replace("\\n", "\n").replace("\\t", "\t").replace("\0", "\\") for line in marked]


def rules(policy: str) -> Rules:
    said = TABLE["policies"][policy]
    levels = tuple(
        level(
            one["name"],
            one.get("allow", ()),
            one.get("ask", ()),
            one.get("deny", ()),
            one.get("default"),
            one.get("askMayBeAllowed", False),
        )
        for one in said["levels"]
    )
    tools = tuple(said["tools"]) if "tools" in said else None
    return Rules(levels, tools, said["workDir"], said["home"], tuple(said.get("guarded", ())))
