"""`completion`: the script by which a shell completes command lines."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import get_completion_inspect_parameters, shell_complete

from reconciler.cli.program import COMPLETE, NAME, program
from reconciler.config import Config


class Shell(StrEnum):
    """A shell that can be helped."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(config: Config, shell: Annotated[Shell, typer.Argument(help="The shell.", show_default=False)]) -> None:
    """Print the script that completes command lines in a shell.

    Commands, options, kinds, and names of objects in the store. For bash: `source <(reconciler completion bash)`, also as a line of
    ~/.bashrc. For zsh: the same in ~/.zshrc, after `compinit`. For fish: `reconciler completion fish | source`."""
    get_completion_inspect_parameters()  # makes the shells known
    raise typer.Exit(shell_complete(program(), {}, NAME, COMPLETE, f"source_{shell}"))
