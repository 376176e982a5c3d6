"""`version`."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Annotated

import typer

from reconciler.api.version import API_VERSION
from reconciler.cli.output import out, parse_format, to_json
from reconciler.config import Config
from reconciler.core.keys import Json


def version(
    config: Config, output: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="text or json.")] = "text"
) -> None:
    """Print the version."""
    shape = parse_format(output, ("text", "json"))
    told: Json = {"version": metadata.version("reconciler"), "apiVersion": API_VERSION, "python": platform.python_version()}
    out(to_json(told) if shape.kind == "json" else f"reconciler {told['version']} ({API_VERSION}, Python {told['python']})")
