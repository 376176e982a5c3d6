"""`validate`: declarations checked without a controller."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from reconciler.api.support import unsupported
from reconciler.cli.output import out, parse_format, say, to_json
from reconciler.config import Config
from reconciler.core.keys import JsonValue
from reconciler.sources.documents.permissions import useless_rules
from reconciler.sources.files.scan import FileDeclared, Scanner


def validate(
    config: Config,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files and directories.", show_default=False)],
    output: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="text, json or sarif.")] = "text",
) -> None:
    """Check declarations without a controller.

    One line a finding, in the order of files and lines; exit code 1 when there is any. `-o sarif` is what forges and editors take."""
    shape = parse_format(output, ("text", "json", "sarif"))
    found = Scanner(config.namespace).scan(paths)
    if shape.kind == "json":
        rows: list[JsonValue] = [
            {"file": f.file, "line": f.line, "column": f.column, "field": f.field, "message": f.message} for f in found.findings
        ]
        out(to_json(rows))
    elif shape.kind == "sarif":
        from reconciler.cli.sarif import sarif

        out(to_json(sarif(found.findings, version("reconciler"))))
    else:
        for finding in found.findings:
            out(str(finding))
        for declared in found.objects:
            warn_unsupported(declared)
            warn_useless(declared)
        if not found.findings:
            say(f"{len(found.objects)} valid")
    raise typer.Exit(1 if found.findings else 0)


def warn_useless(declared: FileDeclared) -> None:
    """Say which rules for tool calls can never decide anything."""
    for problem in useless_rules(declared.doc.raw):
        mark = declared.at(problem.path)
        say(f"warning: {declared.file}:{mark.line}:{mark.column}: {problem}")


def warn_unsupported(declared: FileDeclared) -> None:
    """Say which fields are accepted and not acted on in this release."""
    for gap in unsupported(declared.key.kind, declared.spec):
        effect = "nothing starts while it is set" if gap.protects else "ignored"
        say(f"warning: {declared.origin}: {gap.path}: not acted on in this release; {effect}")
