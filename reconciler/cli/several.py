"""Commands that act on several objects: what fails with one keeps none of the others from being acted on, and all of it is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from reconciler.cli.catalog import CLUSTERS
from reconciler.cli.options import for_cluster
from reconciler.cli.output import say
from reconciler.config import Config
from reconciler.errors import ReconcilerError

T = TypeVar("T")


async def each(items: Iterable[T], act: Callable[[T], Awaitable[None]]) -> tuple[list[T], list[ReconcilerError]]:
    """Act on every one, in order. Returns those that it went well with, and what went wrong with others."""
    done: list[T] = []
    wrong: list[ReconcilerError] = []
    for item in items:
        try:
            await act(item)
            done.append(item)
        except ReconcilerError as error:
            wrong.append(error)
    return done, wrong


def one_by_one(config: Config, items: Iterable[T], act: Callable[[T], None]) -> None:
    """Act on every one, in order, each in an event loop of its own where it needs one. Raises the first thing that went wrong, when all
    were tried and the others were told."""
    wrong: list[ReconcilerError] = []
    for item in items:
        try:
            act(item)
        except ReconcilerError as error:
            wrong.append(error)
    tell(config, wrong)


def tell(config: Config, wrong: Sequence[ReconcilerError]) -> None:
    """Raise the first thing that went wrong, if any; the others are told before."""
    for error in wrong[1:]:
        if config.kube:
            error.remedy = for_cluster(error.remedy, config, CLUSTERS)
        say(f"error: {error}")
    if wrong:
        raise wrong[0]
