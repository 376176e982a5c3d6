"""Which repositories are followed: from addresses of a command line, and from `[gitSource]` of the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from reconciler import paths
from reconciler.errors import UsageError
from reconciler.paths import Present
from reconciler.sources.git.address import Credential, GitSettings, checked, is_address, parse

_Text = Annotated[str, StringConstraints(min_length=1, max_length=2048)]


class Table(BaseModel):
    """`[gitSource]`, or each of `[[gitSource]]`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    url: _Text
    """Of the repository; no credential in it."""
    ref: str = ""
    """Branch, tag, `refs/…` or a whole commit id; '' is what the repository says is its head."""
    path: str = ""
    """The directory of it that declares the fleet."""
    interval: Annotated[float | int, Field(ge=1, le=86_400)] = 60
    """Seconds between two looks."""
    secret: Annotated[str, StringConstraints(pattern=r"^[^/\s]+/[^/\s]+$")] | None = None
    """NAME/KEY of the token, from the same secrets that agents have."""
    username: _Text = "git"
    """That goes with the token."""
    verify: _Text | None = None
    """File of the keys (ssh `allowed_signers`) by one of which each commit has to be signed."""


def repositories(arguments: Iterable[str], tables: object, folder: Path) -> list[GitSettings]:
    """What is to be followed: the addresses among the arguments, each with the table of its URL if there is one; without any, all tables.
    `folder`: to which names of files in tables are relative. Raises `UsageError` naming what is wrong."""
    known = [_settings(one, number, folder) for number, one in enumerate(_listed(tables), 1)]
    asked = [parse(text) for text in arguments if is_address(text)]
    if not asked:
        return known
    found: list[GitSettings] = []
    for address in asked:
        same = next((one for one in known if one.address.url == address.url), GitSettings(address))
        found.append(GitSettings(address, same.interval, same.credential, same.verify))
    names = [one.address.name for one in found]
    if len(set(names)) != len(names):
        raise UsageError(
            "one ref of a repository is named twice", names[0], "name it once; several directories of it can't be followed apart"
        )
    return found


def _listed(tables: object) -> Sequence[object]:
    return tables if isinstance(tables, list) else [] if tables is None else [tables]


def _settings(table: object, number: int, folder: Path) -> GitSettings:
    where = f"gitSource {number} in the configuration"
    try:
        read = Table.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{field or 'gitSource'}: {first['msg'].lower()}", where, "see docs/git.md") from None
    address = checked(read.url.removeprefix("git+"), read.ref, read.path, where)
    name, _, key = (read.secret or "").partition("/")
    credential = Credential(name, key, read.username) if read.secret else None
    verify = str((folder / Path(read.verify).expanduser()).absolute()) if read.verify else ""
    if verify and not isinstance(paths.look(Path(verify)), Present):
        raise UsageError("the file of keys is not there", verify, "name an ssh `allowed_signers` file in verify")
    return GitSettings(address, float(read.interval), credential, verify)
