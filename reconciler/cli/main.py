"""The program `reconciler`: its commands, and how an error becomes an exit code."""

from __future__ import annotations

import errno
import gc
import os
import sys

import typer
from typer.completion import get_completion_inspect_parameters

from reconciler.cli.program import COMPLETE, NAME, program
from reconciler.errors import ReconcilerError, Refused, TimedOut, UsageError

DONE, FAILED, CHANGES_PENDING, TIMED_OUT, REFUSED, USAGE, INTERRUPTED = 0, 1, 2, 3, 4, 64, 130


def main() -> None:
    """Entry point: runs the command line and exits with its code."""
    code = execute(sys.argv[1:])
    # Everything is closed. Searching the whole memory for cycles once more took a controller half a second of a processor, on a busy
    # machine all of the five seconds that a stop has.
    gc.freeze()
    sys.exit(code)


def execute(argv: list[str]) -> int:
    """Run one command line; returns the exit code of cli.md. What goes wrong is one line on stderr, a traceback only with -v."""
    try:
        if COMPLETE in os.environ:
            get_completion_inspect_parameters()  # makes the shells known
        code = program()(argv or ["--help"], standalone_mode=False, prog_name=NAME)
        sys.stdout.flush()
        return USAGE if not argv else code if isinstance(code, int) else DONE
    except typer.Exit as ended:
        return ended.exit_code
    except typer.TyperException as wrong:
        return _tell(wrong.format_message().rstrip("."), USAGE)
    except ReconcilerError as error:
        return _tell(str(error), code_of(error))
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        from reconciler.cli.output import nowhere

        nowhere()
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
    from reconciler.cli import output
    from reconciler.visible import one_line

    if {"-v", "--verbose"} & set(sys.argv[1:]):
        import traceback

        output.say(traceback.format_exc().rstrip())
    output.say(f"error: {one_line(message)}")
    return code


if __name__ == "__main__":
    main()
