"""The command line as Typer knows it: commands that are imported when they are called, and how help is laid out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from reconciler.cli import options
from reconciler.cli.catalog import CLUSTERS, GROUPS, Entry
from reconciler.cli.parameters import relieved

if TYPE_CHECKING:  # Typer keeps the types of its own methods here
    from typer._click import Context, HelpFormatter, Parameter

NAME = "reconciler"
COMPLETE = "_RECONCILER_COMPLETE"
"""The variable by which a shell asks what may come next; `reconciler completion` prints the script that does so."""

WIDEST = 120
"""Columns of help on a wide terminal."""

SETTINGS: Mapping[str, object] = {"max_content_width": WIDEST, "help_option_names": ["--help", "-h"]}
"""Of the context that every command runs in."""


class Page(TyperCommand):
    """One command. Its help shows its own options; those that every command takes are named in one line."""

    def get_params(self, ctx: Context) -> list[Parameter]:
        return relieved(super().get_params(ctx))

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        params = self.get_params(ctx)
        own = [param for param in params if not _everywhere(param)]
        _section(formatter, ctx, "Arguments", (param for param in own if param.param_type_name == "argument"))
        _section(formatter, ctx, "Options", (param for param in own if param.param_type_name == "option"))
        names = [max(param.opts, key=len) for param in params if _everywhere(param)]
        with formatter.section("Options of every command (`reconciler --help` explains them)"):
            indent = " " * formatter.current_indent
            for line in wrap(", ".join(names), formatter.width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False):
                formatter.write(f"{line}\n")  # whole names: `write_text` breaks them at their hyphens


class LateCommand(TyperCommand):
    """A command of which only name, group and summary are known until it is called, or asked for its options."""

    def __init__(self, entry: Entry, group: str) -> None:
        super().__init__(entry.name, help=entry.summary, short_help=entry.summary, rich_help_panel=group, rich_markup_mode=None)
        self._entry = entry
        self._loaded: TyperCommand | None = None

    def load(self) -> TyperCommand:
        """The command itself."""
        if self._loaded is None:
            module, _, function = self._entry.target.partition(":")
            run = getattr(import_module(module), function)
            app = typer.Typer(add_completion=False, rich_markup_mode=None)
            app.command(self._entry.name, cls=Page, context_settings=dict(SETTINGS))(options.with_globals(self._entry.name, run, CLUSTERS))
            loaded = typer.main.get_command(app)
            assert isinstance(loaded, TyperCommand)
            self._loaded = loaded
        return self._loaded

    def make_context(self, info_name: str | None, args: list[str], parent: Context | None = None, **extra: Any) -> Context:
        return self.load().make_context(info_name, args, parent, **extra)

    def get_params(self, ctx: Context) -> list[Parameter]:
        return self.load().get_params(ctx)


class Program(TyperGroup):
    """All commands. Its help lists them by group, then the options that every command takes."""

    def get_params(self, ctx: Context) -> list[Parameter]:
        return relieved(super().get_params(ctx))

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        widest = max(len(name) for name in self.commands)
        for title, entries in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(entry.name.ljust(widest), entry.summary) for entry in entries])
        _section(formatter, ctx, "Options of every command, before or after its name", self.get_params(ctx))


def program() -> Program:
    """The whole command line; no command is imported."""
    app = typer.Typer(name=NAME, cls=Program, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    options.root(app, "The declarative control plane for fleets of persistent coding agents.", dict(SETTINGS))
    made = typer.main.get_command(app)
    assert isinstance(made, Program)
    for group, entries in GROUPS.items():
        for entry in entries:
            made.add_command(LateCommand(entry, group))
    return made


def _everywhere(param: Parameter) -> bool:
    return getattr(param, "rich_help_panel", None) == options.PANEL


def _section(formatter: HelpFormatter, ctx: Context, title: str, params: Iterable[Parameter]) -> None:
    rows = [row for param in params if (row := param.get_help_record(ctx)) is not None]
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)
