"""Running the programs and reading the files of this host that give credentials: bounded, without a shell, and nothing of them told."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from reconciler.core.snapshot.rendered import SecretRef
from reconciler.errors import NotFound, ReconcilerError, Refused, TimedOut, Unreachable
from reconciler.sources.credentials import MAX_BYTES, HostDraws

HIDDEN = "do-not-tell-this"


def program(*command: str) -> SecretRef:
    return SecretRef(command[0], "", "Program", command)


def python(text: str, *arguments: str) -> SecretRef:
    return program(sys.executable, "-c", text, *arguments)


def draw(ref: SecretRef, seconds: float = 30.0, **environ: str) -> str:
    return asyncio.run(HostDraws({"PATH": os.environ["PATH"], **environ}, seconds).draw("team", ref))


def refused(ref: SecretRef, error: type[ReconcilerError], seconds: float = 30.0) -> str:
    with pytest.raises(error) as told:
        draw(ref, seconds)
    assert told.value.__cause__ is None
    assert HIDDEN not in str(told.value)
    return str(told.value)


def test_arguments_reach_the_program_as_they_stand() -> None:
    words = ("$(id)", "; id", "a b", "*")
    assert draw(python("import sys; print(sys.argv[1:])", *words)) == f"{list(words)}\n"


@pytest.mark.guarantee("G-60")
def test_a_program_gets_nothing_of_our_environment_that_may_be_secret() -> None:
    text = "import os; print(sorted(os.environ))"
    secret = {"VERS_API_KEY": HIDDEN, "RECONCILER_SECRET_A_B": HIDDEN, "AWS_SECRET_ACCESS_KEY": HIDDEN}
    seen = draw(python(text), HOME="/root", **secret)
    assert not set(secret) & set(seen.split("'"))
    assert {"PATH", "HOME", "RECONCILER_NAMESPACE"} <= set(seen.split("'"))


@pytest.mark.guarantee("G-60")
def test_what_goes_wrong_is_told_without_a_word_of_the_program() -> None:
    said = refused(python(f"import sys; print('{HIDDEN}'); print('{HIDDEN}', file=sys.stderr); sys.exit(3)"), Unreachable)
    assert "the program ended with 3" in said
    assert "run it by hand" in said
    assert "can't be executed" in refused(program("no-such-program-here"), NotFound)
    assert "did not end within" in refused(python("import time; time.sleep(60)"), TimedOut, 0.5)
    assert "more than 64 KiB" in refused(python(f"while True: print('{HIDDEN}' * 1000)"), Refused)
    assert "not UTF-8" in refused(python("import sys; sys.stdout.buffer.write(b'\\xff')"), Refused)


def test_a_program_that_leaves_its_output_open_is_not_waited_for_beyond_its_time() -> None:
    text = "import os, time\nif os.fork() == 0: time.sleep(60)\nelse: print('word')"
    assert "did not end within" in refused(python(text), TimedOut, 1.0)


@pytest.mark.guarantee("G-60")
def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{HIDDEN}\n")
    path.chmod(0o600)
    assert draw(SecretRef(str(path), "", "File")) == f"{HIDDEN}\n"
    path.chmod(0o640)
    assert "others may read it (mode 0640)" in refused(SecretRef(str(path), "", "File"), Refused)
    assert "no such file" in refused(SecretRef(str(tmp_path / "none"), "", "File"), Refused)
    assert "not a regular file" in refused(SecretRef(str(tmp_path), "", "File"), Refused)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    assert "not a regular file" in refused(SecretRef(str(pipe), "", "File"), Refused)
    path.chmod(0o600)
    path.write_bytes(b"x" * (MAX_BYTES + 1))
    assert "more than 64 KiB" in refused(SecretRef(str(path), "", "File"), Refused)
