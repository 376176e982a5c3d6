"""Scripts of sed: which of them only print, delete and replace."""

from __future__ import annotations

import re
from typing import Final

from reconciler.core.governance.permissions.patterns import ANY, plain

_SED_SAFE: Final = re.compile(
    r"([\d$,~+]*|/[^/\n]*/(,/[^/\n]*/)?)!?\s*([pdqD=]|s([/|#,:@])((?!\4)[^\n]|\\.)*\4((?!\4)[^\n]|\\.)*\4[gpiIm\d]*|y([/|])[^\n]*\7[^\n]*\7)?"
)


def sed(words: tuple[str, ...]) -> int:
    at, scripts, rest = 1, [], []
    while at < len(words):
        word = words[at]
        if word in ("-e", "--expression"):
            scripts.append(words[at + 1] if at + 1 < len(words) else ANY)
            at += 2
            continue
        if word.startswith("--expression="):
            scripts.append(word.split("=", 1)[1])
        elif word.startswith(("-f", "--file")):
            return at + 1
        elif re.fullmatch(r"-[nErszu]*e.+", word):
            scripts.append(re.sub(r"^-[nErszu]*e", "", word))
        elif not word.startswith("-"):
            rest.append(word)
        at += 1
    scripts = scripts or rest[:1]
    safe = all(plain(script) and all(_SED_SAFE.fullmatch(one.strip()) for one in _split(script)) for script in scripts)
    return 0 if safe else 2


def _split(script: str) -> list[str]:
    """A script of sed at its semicolons, unless one may be part of something else."""
    return re.split(r";|\n", script) if re.fullmatch(r"[^/|#,:@]*;[^/|#,:@]*", script) else _whole(script)


def _whole(script: str) -> list[str]:
    parts = re.split(r"(?<=[/|#gpd]);\s*", script)
    return parts
