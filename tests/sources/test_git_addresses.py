"""Where a repository is, as people write it: on a command line, and in the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import UsageError
from reconciler.sources.git.address import Address, Credential, GitSettings, parse
from reconciler.sources.git.settings import repositories


@pytest.mark.parametrize(
    ("text", "url", "ref", "subdir"),
    [
        ("git+https://example.org/team/fleet.git", "https://example.org/team/fleet.git", "", ""),
        ("git+https://example.org/team/fleet.git@main#prod/eu", "https://example.org/team/fleet.git", "main", "prod/eu"),
        ("git+https://example.org:8443/f.git@release/1.2", "https://example.org:8443/f.git", "release/1.2", ""),
        ("git+ssh://git@example.org/fleet.git", "ssh://git@example.org/fleet.git", "", ""),
        ("git+ssh://git@example.org/fleet.git@v1", "ssh://git@example.org/fleet.git", "v1", ""),
        ("git+file:///srv/fleet.git@main", "file:///srv/fleet.git", "main", ""),
        ("git+git://127.0.0.1:9418/fleet.git#a", "git://127.0.0.1:9418/fleet.git", "", "a"),
    ],
)
def test_an_address_has_a_url_a_ref_and_a_directory(text: str, url: str, ref: str, subdir: str) -> None:
    assert parse(text) == Address(url, ref, subdir)


@pytest.mark.guarantee("G-60", "G-61")
@pytest.mark.parametrize(
    "text",
    [
        "git+https://user:hunter2@example.org/f.git",
        "git+https://hunter2@example.org/f.git",
        "git+ext::sh -c touch% /tmp/x",
        "git+https://example.org/f.git@--upload-pack=hunter2",
        "git+https://example.org/f.git@a..b",
        "git+https://example.org/f.git@a b",
        "git+https://example.org/f.git#../../etc",
        "git+https://example.org",
        "git+https:///f.git",
        "git+ssh://-oProxyCommand=hunter2/f.git",
        "git+https://example.org:99999/f.git",
        "git+https://example.org/f.git?token=hunter2",
        "git+--upload-pack=hunter2",
    ],
)
def test_what_is_no_address_is_refused_and_a_credential_not_shown(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(text)
    if "@example.org/f.git" in text and "//git@" not in text:
        assert "hunter2" not in str(refused.value)


def test_tables_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a ssh-ed25519 AAAA\n")
    table = {"url": "https://example.org/f.git", "ref": "main", "path": "prod", "interval": 5, "secret": "forge/token", "verify": "keys"}
    (one,) = repositories([], table, tmp_path)
    wanted = GitSettings(Address("https://example.org/f.git", "main", "prod"), 5.0, Credential("forge", "token"), str(tmp_path / "keys"))
    assert one == wanted
    (other,) = repositories(["git+https://example.org/f.git@next"], [table], tmp_path)
    assert (other.address.ref, other.address.subdir, other.credential) == ("next", "", wanted.credential)
    for wrong, word in (
        ({**table, "interval": 0}, "interval"),
        ({**table, "urll": "x"}, "urll"),
        ({**table, "secret": "hunter2"}, "secret"),
        ({**table, "verify": "none"}, "not there"),
        ({"ref": "x"}, "url"),
        (5, "gitSource"),
    ):
        with pytest.raises(UsageError) as refused:
            repositories([], wrong, tmp_path)
        assert word in str(refused.value)
        assert "hunter2" not in str(refused.value)
