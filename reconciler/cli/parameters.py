"""Parameters of commands, most of which need no conversion.

Typer converts every value through pydantic, also texts, defaults and what was not given: importing pydantic and building a validator for
each option took longer than all that `get` does. Here a value is converted only when it is given and is to become something else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer.core import TyperArgument, TyperOption

if TYPE_CHECKING:  # where Typer keeps the types of its own methods
    from typer._click import Context, Parameter
    from typer._click.shell_completion import CompletionItem


class Argument(TyperArgument):
    """A positional parameter."""

    def process_value(self, ctx: Context, value: Any) -> Any:
        return _finished(self, ctx, value) if _settled(self, value) else super().process_value(ctx, value)

    def get_usage_pieces(self, ctx: Context) -> list[str]:
        return [self.shown]

    def get_help_record(self, ctx: Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        return None if record is None else (self.shown, record[1].removesuffix("  [required]"))

    def shell_complete(self, ctx: Context, incomplete: str) -> list[CompletionItem]:
        from typer._click.shell_completion import CompletionItem  # only where a shell asks, as the next

        from reconciler.cli.completing import offered

        given = ctx.params.get(self.name or "")
        words = [str(word) for word in given] if isinstance(given, list | tuple) else [str(given)] if given else []
        flags = {**ctx.find_root().params, **{name: value for name, value in ctx.params.items() if value is not None}}
        found = offered(self.metavar or (self.name or "").upper(), words, incomplete, flags)
        return [CompletionItem(word) for word in found] or super().shell_complete(ctx, incomplete)

    @property
    def shown(self) -> str:
        """It as a usage line has it: in brackets when it may be left out."""
        name = self.metavar or (self.name or "").upper()
        return name if self.required or name.startswith("[") else f"[{name}]"


class Option(TyperOption):
    """An option."""

    def process_value(self, ctx: Context, value: Any) -> Any:
        return _finished(self, ctx, value) if _settled(self, value) else super().process_value(ctx, value)


def relieved(params: list[Parameter]) -> list[Parameter]:
    """The same parameters, those that Typer built made ones of these: it has no way to be told of other classes."""
    for param in params:
        if type(param) is TyperOption:
            param.__class__ = Option
        elif type(param) is TyperArgument:
            param.__class__ = Argument
    return params


def _settled(param: Argument | Option, value: Any) -> bool:
    """Whether a value needs no conversion."""
    if param.required and param.value_is_missing(value):
        return False
    if value is None or value is param.default:
        return True
    if param.type_descriptor.annotation is str:
        return isinstance(value, str)
    if param.type_descriptor.annotation == list[str]:
        return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    return False


def _finished(param: Argument | Option, ctx: Context, value: Any) -> Any:
    several = param.multiple or param.nargs == -1
    final = (() if value is None else list(value)) if several else value
    return final if param.callback is None else param.callback(ctx, param, final)
