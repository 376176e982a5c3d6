"""What `doctor` looks at of repositories that declare a fleet: whether each can be reached, and has what is to be followed."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Iterator
from pathlib import Path

from reconciler.config import Config
from reconciler.errors import NotFound, ReconcilerError, TimedOut, Unreachable
from reconciler.sources.git.address import Credential, GitSettings
from reconciler.sources.git.command import REACH
from reconciler.sources.git.repository import Repository
from reconciler.sources.git.settings import repositories

SECONDS = 15.0
"""After which a repository does not answer."""


def checks(config: Config) -> Iterator[Awaitable[str]]:
    """One for each `[gitSource]`; a table that is not as it should be is one, too."""
    try:
        found = repositories((), config.tables.get("gitSource"), Path.cwd())
    except ReconcilerError as error:
        yield _wrong(error)
        return
    for one in found:
        yield _reached(config, one)


async def _wrong(error: ReconcilerError) -> str:
    raise error


async def _reached(config: Config, settings: GitSettings) -> str:
    from reconciler.app import secrets_of

    secrets, name = secrets_of(config), settings.address.name

    def value_of(credential: Credential) -> str | None:
        return secrets.get(config.namespace, credential.name, credential.key)

    with tempfile.TemporaryDirectory(prefix="reconciler-doctor-") as cache:
        try:
            async with asyncio.timeout(SECONDS):
                ref = await Repository(settings, Path(cache), config.environ, value_of).answers()
        except TimeoutError as error:
            remedy = "check its address, this host's network and proxy, and the forge"
            raise TimedOut(f"the repository does not answer within {SECONDS:g} s", name, remedy) from error
        except NotFound as error:
            raise NotFound(error.what, error.where or name, error.remedy or "name another ref") from error
        except Unreachable as error:
            raise Unreachable(error.what, error.where or name, REACH) from error
    signed = f", commits signed by a key of {settings.verify}" if settings.verify else ""
    return f"{name} answers and has {ref}{signed}"
