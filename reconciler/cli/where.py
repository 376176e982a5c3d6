"""What a command line names as declarations: files, directories and repositories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.config import Config
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.engine.ports import Secrets, Store
    from reconciler.engine.view import DeclarationPort
    from reconciler.sources.git.address import GitSettings
    from reconciler.sources.git.source import Followed

DEFAULT_PATH = Path("specs")

Arguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PATH…]",
        help="Files, directories and repositories (git+URL[@REF][#DIRECTORY]); without any: ./specs, or gitSource of --config.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class Where:
    """`paths`: files and directories."""

    paths: tuple[Path, ...] = ()
    repositories: tuple[GitSettings, ...] = ()

    @property
    def nothing(self) -> bool:
        return not self.paths and not self.repositories


def where(config: Config, arguments: Sequence[str]) -> Where:
    """What is named, else what is configured, else ./specs where that is there. Raises `UsageError` naming what is wrong."""
    tables = config.tables.get("gitSource")
    paths = [Path(text) for text in arguments if not text.startswith("git+")]
    found: list[GitSettings] = []
    if len(paths) < len(arguments) or (tables is not None and not arguments):
        from reconciler.sources.git.settings import repositories

        found = repositories(arguments, tables, Path.cwd())
    if not paths and not found and DEFAULT_PATH.exists():
        paths = [DEFAULT_PATH]
    return Where(tuple(paths), tuple(found))


def existing(config: Config, arguments: Sequence[str]) -> Where:
    """As `where`. Raises `UsageError` also when there is nothing."""
    found = where(config, arguments)
    if found.nothing:
        raise UsageError(
            "there is no directory of declarations", f"./{DEFAULT_PATH}", "create it, or name files, directories, repositories"
        )
    return found


def followed(config: Config, at: Where, cache: Path, secrets: Secrets, declarations: DeclarationPort, store: Store) -> list[Followed]:
    """The repositories, ready to be fetched into `cache`."""
    if not at.repositories:
        return []
    from reconciler.sources.git.address import Credential
    from reconciler.sources.git.repository import Repository
    from reconciler.sources.git.source import Followed

    def value_of(credential: Credential) -> str | None:
        return secrets.get(config.namespace, credential.name, credential.key)

    return [
        Followed(Repository(one, cache, config.environ, value_of), declarations, config.namespace, store.meta) for one in at.repositories
    ]
