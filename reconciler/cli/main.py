"""The program `reconciler`: its commands, and how an error becomes an exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback

import typer

from reconciler.cli import act, adopt, attach, cp, doctor, exec, make, operator, options, orphans, resolve, run, send, simulate, tree
from reconciler.cli import read as look
from reconciler.cli.demo import command as demo
from reconciler.errors import ReconcilerError, Refused, TimedOut, UsageError
from reconciler.log import one_line

MACHINE = {**exec.COMMANDS, **cp.COMMANDS, **attach.COMMANDS}
DONE, FAILED, CHANGES_PENDING, TIMED_OUT, REFUSED, USAGE, INTERRUPTED = 0, 1, 2, 3, 4, 64, 130


CLUSTERS = frozenset(
    {
        *("get", "describe", "tree", "events", "output", "wait", "plan", "orphans", "doctor"),
        *("apply", "delete", "send", "suspend", "resume", "set", "cancel", "retry", "resolve", "adopt", "forget"),
        *("exec", "cp"),
    }
)
"""Commands that know `--kube`."""


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(name="reconciler", add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    options.root(app, "The declarative control plane for fleets of persistent coding agents.")
    for panel, commands in (
        ("Run", {**demo.COMMANDS, **run.COMMANDS, **operator.COMMANDS, **simulate.COMMANDS}),
        ("Look", {**look.COMMANDS, **tree.COMMANDS, **orphans.COMMANDS}),
        ("Act", {**act.COMMANDS, **adopt.COMMANDS, **send.COMMANDS, **resolve.COMMANDS, **MACHINE}),
        ("Make", {**make.COMMANDS, **doctor.COMMANDS}),
    ):
        options.register(app, commands, panel, CLUSTERS)
    return app


def main() -> None:
    """Entry point: runs the command line and exits with its code."""
    sys.exit(execute(sys.argv[1:]))


def execute(argv: list[str]) -> int:
    """Run one command line; returns the exit code of cli.md. What goes wrong is one line on stderr, a traceback only with -v."""
    try:
        code = build()(argv, standalone_mode=False, prog_name="reconciler")
        sys.stdout.flush()
        return code if isinstance(code, int) else DONE
    except typer.Exit as ended:
        return ended.exit_code
    except typer.TyperException as wrong:
        return _tell(wrong.format_message().rstrip("."), USAGE)
    except ReconcilerError as error:
        return _tell(str(error), code_of(error))
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever reads our output has seen enough; the interpreter must not fail again while it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        if error.errno == errno.EPIPE:
            return FAILED
        where = f" ({error.filename})" if error.filename else ""
        return _tell(f"{(error.strerror or type(error).__name__).lower()}{where}", FAILED)
    except Exception as bug:  # noqa: BLE001  # the last line of defence: told, and never an exit code 0
        return _tell(f"internal error: {type(bug).__name__}: {bug}; please report it with the output of -v", FAILED)


def code_of(error: ReconcilerError) -> int:
    """The exit code that tells an error's kind."""
    match error:
        case Refused():
            return REFUSED
        case TimedOut():
            return TIMED_OUT
        case UsageError():
            return USAGE
        case _:
            return FAILED


def _tell(message: str, code: int) -> int:
    if {"-v", "--verbose"} & set(sys.argv[1:]):
        traceback.print_exc()
    print(f"error: {one_line(message)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
