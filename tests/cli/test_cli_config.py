"""`config`: every setting with its source, no secret's value, and a file that keeps what it has."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli.settings import pair, without_password, written
from reconciler.config import NAMES
from tests.cli.conftest import Result, Run

SECRET = "s3cret-of-nobody"


def sources(result: Result) -> dict[str, tuple[object, str]]:
    return {row["name"]: (row["value"], row["source"]) for row in result.json["settings"]}


def test_every_setting_is_shown_with_where_it_comes_from(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.toml").write_text('namespace = "team"\nfleet = "from-file"\nallow-local = true\n')
    monkeypatch.setenv("RECONCILER_FLEET", "from-env")
    monkeypatch.setenv("VERS_API_KEY", SECRET)
    found = sources(run("config", "view", "-o", "json", "--config", "c.toml", "--default-model", "a/b"))
    assert found.keys() >= NAMES
    assert found["namespace"] == ("team", "c.toml")
    assert found["allow-local"] == (True, "c.toml")
    assert found["fleet"] == ("from-env", "RECONCILER_FLEET")
    assert found["default-model"] == ("a/b", "--default-model")
    assert found["state"] == (str(tmp_path / "state"), "RECONCILER_STATE")
    assert found["log-format"] == ("text", "default")
    assert found["VERS_API_KEY"] == ("(set)", "VERS_API_KEY")


@pytest.mark.guarantee("G-60")
@pytest.mark.parametrize("form", ["table", "json", "yaml"])
def test_no_value_of_a_secret_is_shown(run: Run, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setenv("VERS_API_KEY", SECRET)
    monkeypatch.setenv("RECONCILER_SECRET_MODEL_KEY", SECRET)
    monkeypatch.setenv("RECONCILER_STORE", f"postgresql+psycopg://me:{SECRET}@db/fleet?sslpassword={SECRET}")
    shown = run("config", "view", "-o", form)
    assert shown.code == 0
    assert SECRET not in shown.out + shown.err
    assert "RECONCILER_SECRET_MODEL_KEY" in shown.out
    assert "me:***@db/fleet" in shown.out


def test_set_changes_the_users_file_and_the_next_command_follows_it(run: Run, tmp_path: Path) -> None:
    assert run("config", "set", "namespace=team", "allow-local=true", "max-vms=3").code == 0
    file = tmp_path / "home" / ".config" / "reconciler" / "config.toml"
    assert tomllib.loads(file.read_text()) == {"namespace": "team", "allow-local": True, "max-vms": 3}
    assert sources(run("config", "view", "-o", "json"))["namespace"] == ("team", str(file))
    assert "namespace team" in run("get", "lt").err
    assert run("config", "set", "namespace=").code == 0
    assert sources(run("config", "view", "-o", "json"))["namespace"] == ("default", "default")


def test_set_keeps_comments_and_tables(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    before = "# ours\nfleet = \"a\" # whose\n\n# where\nnamespace = 'b'\n"
    file.write_text(before)
    assert run("config", "set", "fleet=z", "settle-seconds=3", "--config", "c.toml").code == 0
    assert file.read_text() == before.replace('"a"', '"z"') + "settle-seconds = 3\n"


@pytest.mark.parametrize("words", [(), ("fleet",), ("flet=x",), ("log-format=loud",), ("settle-seconds=-1",), ("allow-local=maybe",)])
def test_what_is_no_setting_changes_nothing(run: Run, tmp_path: Path, words: tuple[str, ...]) -> None:
    assert run("config", "set", *words).code == 64
    assert not (tmp_path / "home").exists()


def test_a_setting_in_a_table_is_not_taken_for_ours() -> None:
    text = '[other]\nfleet = "theirs"\n'
    assert written(text, "fleet", "ours") == f'fleet = "ours"\n{text}'


@given(
    st.dictionaries(st.sampled_from(["fleet", "namespace", "default-model", "log-format"]), st.text(max_size=12)),
    st.lists(
        st.tuples(st.sampled_from(sorted(NAMES)), st.one_of(st.none(), st.booleans(), st.integers(0, 99), st.text(max_size=12))), max_size=5
    ),
)
def test_a_file_says_what_was_set_and_the_rest_as_before(old: dict[str, str], changes: list[tuple[str, str | int | bool | None]]) -> None:
    text, wanted = "# begin\n", dict(old)
    for name, value in old.items():
        text = written(text, name, value)
    text += "# end\n[table]\nx = 1\n"
    after = text
    for name, change in changes:
        after = written(after, name, change)
        wanted.pop(name, None) if change is None else wanted.update({name: change})  # type: ignore[dict-item]
    assert tomllib.loads(after) == {**wanted, "table": {"x": 1}}
    assert "# begin\n" in after
    assert after.endswith("[table]\nx = 1\n")


def test_values_are_read_as_what_the_setting_is() -> None:
    assert pair("max-vms=5") == ("max-vms", 5)
    assert pair("namespace=5") == ("namespace", "5")
    assert pair("kube=true") == ("kube", True)


@pytest.mark.parametrize("value", ["default", "/a/b", "team-a=team-b", "a,b", "postgresql://h/d", "sqlite:///x"])
def test_what_has_no_password_is_shown_as_it_is(value: str) -> None:
    assert without_password(value) == value


@pytest.mark.guarantee("G-60")
@pytest.mark.parametrize("form", ["table", "json", "yaml"])
def test_repositories_and_telemetry_are_shown_and_no_secret_of_them(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    (tmp_path / "c.toml").write_text(
        '[budget]\nmax-cost = "100.00"\n'
        '[[gitSource]]\nurl = "https://forge.example.org/a.git"\nsecret = "forge/token"\ninterval = 30\n'
        f'[[gitSource]]\nurl = "https://me:{SECRET}@forge.example.org/b.git"\ntoken = "{SECRET}"\n'
    )
    monkeypatch.setenv("RECONCILER_SECRET_FORGE_TOKEN", SECRET)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{SECRET}@127.0.0.1:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization={SECRET}")
    told = run("config", "view", "--config", "c.toml", "-o", form)
    assert told.code == 0
    assert SECRET not in told.out + told.err
    if form != "json":
        assert "gitSource[1].secret" in told.out
        return
    found = sources(told)
    assert found["gitSource[1].url"] == ("https://forge.example.org/a.git", "c.toml")
    assert found["gitSource[1].secret"] == ("forge/token", "c.toml")
    assert found["gitSource[1].interval"] == (30, "c.toml")
    assert found["gitSource[1].verify"] == (None, "default")
    assert found["gitSource[2].interval"] == (60, "default")
    assert found["gitSource[2].url"] == ("https://***@forge.example.org/b.git", "c.toml")
    assert found["gitSource[2].token"] == ("(unknown)", "c.toml")
    assert found["budget.max-cost"] == ("100.00", "c.toml")
    assert found["OTEL_EXPORTER_OTLP_ENDPOINT"] == ("http://***@127.0.0.1:4318", "OTEL_EXPORTER_OTLP_ENDPOINT")
    assert found["OTEL_EXPORTER_OTLP_HEADERS"] == ("(set)", "OTEL_EXPORTER_OTLP_HEADERS")
    assert found["OTEL_TRACES_EXPORTER"] == (None, "default")
