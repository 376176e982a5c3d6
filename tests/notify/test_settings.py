"""Sinks in the configuration file: what is wrong is said with file, sink and setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reconciler.config import load
from reconciler.core.notices import Filter
from reconciler.errors import UsageError
from reconciler.notify.settings import Command, Ref, Webhook, read_sinks

HOOK: dict[str, Any] = {"name": "ops", "url": "https://example.com/x", "key-from": {"file": "/k"}}


def test_a_file_declares_sinks(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("""
fleet = "prod"

[[notify]]
name = "ops"
url = "https://hooks.example.com/reconciler"
key-from = {secret = "ops/hook/key"}
events = ["failed", "attention"]
namespaces = ["team-a"]
kinds = ["Task", "Lieutenant"]
reasons = ["CrashLoop"]
hold-seconds = 60

[[notify]]
name = "pager"
command = ["/usr/local/bin/page", "--urgent"]
env = ["PAGER_HOST"]
""")
    config = load({}, {}, file)
    ops, pager = config.notify
    assert config.fleet == "prod"
    assert ops.way == Webhook("https://hooks.example.com/reconciler", Ref("secret", "ops/hook/key"))
    assert ops.want.filter == Filter(("failed", "attention"), ("Task", "Lieutenant"), ("team-a",), ("CrashLoop",))
    assert ops.want.hold == 60
    assert pager.way == Command(("/usr/local/bin/page", "--urgent"), ("PAGER_HOST",))
    assert pager.want.filter == Filter()
    assert load({}, {}, None).notify == ()


@pytest.mark.parametrize(
    ("tables", "where", "what"),
    [
        ({"name": "x"}, "c.toml", "list of tables"),
        ([1], "c.toml", "list of tables"),
        ([{}] * 17, "notify in c.toml", "more than 16"),
        ([HOOK, HOOK], "notify in c.toml", "two sinks"),
        ([{**HOOK, "name": "O P S"}], "notify 1: name in c.toml", "needs a name"),
        ([{**HOOK, "nam": "x"}], "notify ops: nam in c.toml", "unknown setting"),
        ([{"name": "ops"}], "notify ops: url in c.toml", "one way"),
        ([{**HOOK, "command": ["x"]}], "notify ops: url in c.toml", "one way"),
        ([{**HOOK, "url": 3}], "notify ops: url in c.toml", "must be a string"),
        ([{**HOOK, "url": "example.com"}], "notify ops: url in c.toml", "begins with https"),
        ([{**HOOK, "url": "http://example.com/"}], "notify ops: url in c.toml", "shows everybody"),
        ([{**HOOK, "url": "https://me:pw@example.com/"}], "notify ops: url in c.toml", "password"),
        ([{**HOOK, "url": "https://[::1/"}], "notify ops: url in c.toml", "no address"),
        ([{**HOOK, "key-from": "s3cret"}], "notify ops: key-from in c.toml", "never written here"),
        ([{**HOOK, "key-from": {"secret": "hook/key"}}], "notify ops: key-from in c.toml", "no reference"),
        ([{**HOOK, "key-from": {"file": "key"}}], "notify ops: key-from in c.toml", "no reference"),
        ([{"name": "ops", "url": "https://example.com"}], "notify ops: key-from in c.toml", "is signed"),
        ([{**HOOK, "unsigned": True}], "notify ops: key-from in c.toml", "both"),
        ([{**HOOK, "unsigned": "yes"}], "notify ops: unsigned in c.toml", "true or false"),
        ([{**HOOK, "env": ["A"]}], "notify ops: env in c.toml", "goes with command"),
        ([{**HOOK, "events": ["done"]}], "notify ops: events in c.toml", "no 'done'"),
        ([{**HOOK, "kinds": ["Pod"]}], "notify ops: kinds in c.toml", "no 'Pod'"),
        ([{**HOOK, "reasons": ["Crash"]}], "notify ops: reasons in c.toml", "no 'Crash'"),
        ([{**HOOK, "namespaces": "team"}], "notify ops: namespaces in c.toml", "list of strings"),
        ([{**HOOK, "hold-seconds": True}], "notify ops: hold-seconds in c.toml", "number of seconds"),
        ([{**HOOK, "timeout-seconds": 0}], "notify ops: timeout-seconds in c.toml", "number of seconds"),
        ([{"name": "ops", "command": "page --now"}], "notify ops: command in c.toml", "list of strings"),
        ([{"name": "ops", "command": []}], "notify ops: command in c.toml", "is a list"),
        ([{"name": "ops", "command": ["x"], "key-from": {"file": "/k"}}], "notify ops: key-from in c.toml", "goes with a webhook"),
    ],
)
def test_what_is_wrong_is_said_with_file_sink_and_setting(tables: object, where: str, what: str) -> None:
    with pytest.raises(UsageError) as error:
        read_sinks(tables, "c.toml")
    assert error.value.where == where
    assert what in error.value.what
    assert error.value.remedy
    assert "s3cret" not in str(error.value)
