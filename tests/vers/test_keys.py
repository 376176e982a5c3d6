"""Where key, URL and the way to a VM come from, anew at every request (cli.md, Conventions; vers-api §1)."""

from __future__ import annotations

import json
import os
import traceback
from pathlib import Path

import pytest

from reconciler.errors import Unauthorized, Unreachable
from reconciler.vers.keys import Endpoint, Settings

ACCOUNT = "0f5a6b1c-1111-4222-8333-444455556666"
KEY = ACCOUNT + "c0ffee" * 10 + "beef"
VM = "11111111-2222-4333-8444-555555555555"


def write(home: Path, relative: str, document: object) -> Path:
    path = home / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def key(settings: Settings) -> str:
    return settings.access().key.get_secret_value()


def test_the_first_place_that_has_a_key_wins(tmp_path: Path) -> None:
    env: dict[str, str] = {}
    settings = Settings(env, tmp_path)
    with pytest.raises(Unauthorized, match="no Vers API key"):
        settings.access()
    assert settings.account() == ""
    write(tmp_path, ".versrc", {"apiKey": "k4", "email": "x"})
    assert key(settings) == "k4"
    write(tmp_path, ".vers/config.json", {"api_key": "k3"})
    assert key(settings) == "k3"
    write(tmp_path, ".vers/config.json", {"versApiKey": "k3-other", "api_key": "k3"})
    assert key(settings) == "k3-other"
    write(tmp_path, ".vers/keys.json", {"keys": {"VERS_API_KEY": "k2\n"}})
    assert key(settings) == "k2"
    env["VERS_API_KEY"] = " k1 "
    assert key(settings) == "k1"
    env["VERS_API_KEY"] = ""
    assert key(settings) == "k2"


@pytest.mark.parametrize("document", [{}, [], {"keys": None}, {"keys": {"VERS_API_KEY": ""}}, {"keys": {"OTHER": "x"}}, "null"])
def test_a_file_without_a_key_is_passed_over(tmp_path: Path, document: object) -> None:
    write(tmp_path, ".vers/keys.json", document)
    write(tmp_path, ".versrc", {"apiKey": "last"})
    assert key(Settings({}, tmp_path)) == "last"


def test_a_corrected_file_counts_at_once_and_a_removed_one_too(tmp_path: Path) -> None:
    settings = Settings({}, tmp_path)
    path = write(tmp_path, ".vers/keys.json", {"keys": {"VERS_API_KEY": "aaaa"}})
    assert key(settings) == "aaaa"
    replacement = write(tmp_path, ".vers/keys.new", {"keys": {"VERS_API_KEY": "bbbb"}})
    os.replace(replacement, path)
    assert key(settings) == "bbbb"
    path.unlink()
    with pytest.raises(Unauthorized):
        settings.access()


@pytest.mark.guarantee("G-60")
def test_a_broken_file_is_named_and_not_quoted(tmp_path: Path) -> None:
    path = write(tmp_path, ".vers/keys.json", json.dumps({"keys": {"VERS_API_KEY": KEY}})[:-2])
    write(tmp_path, ".versrc", {"apiKey": "of-another-account"})
    settings = Settings({}, tmp_path)
    with pytest.raises(Unauthorized, match="not JSON") as caught:
        settings.access()
    assert caught.value.where == str(path)
    assert KEY[36:] not in "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=False).format())
    assert settings.account() == ""


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / ".vers/keys.json").mkdir(parents=True)
    with pytest.raises(Unauthorized, match="can't be read") as caught:
        Settings({}, tmp_path).access()
    assert caught.value.where == str(tmp_path / ".vers/keys.json")


@pytest.mark.guarantee("G-60")
@pytest.mark.parametrize("bad", [f"{KEY}\r\nX-Evil: 1", f"{KEY} {KEY}", f"{KEY}é"])
def test_a_key_that_fits_no_header_is_refused_without_being_shown(bad: str) -> None:
    with pytest.raises(Unauthorized) as caught:
        Settings({"VERS_API_KEY": bad}).access()
    assert KEY[36:] not in repr(caught.value)


@pytest.mark.guarantee("G-60")
def test_nothing_resolved_shows_the_key(tmp_path: Path) -> None:
    write(tmp_path, ".versrc", {"apiKey": KEY})
    settings = Settings({}, tmp_path)
    shown = repr(settings.access()) + str(settings.access()) + repr(vars(settings)) + settings.account()
    assert KEY[36:] not in shown


def test_the_account_is_the_public_half_of_the_key() -> None:
    assert Settings({"VERS_API_KEY": KEY}).account() == ACCOUNT
    odd = Settings({"VERS_API_KEY": "an-odd-key-without-a-public-half-in-it"}).account()
    assert odd.startswith("key-")
    assert "odd" not in odd
    assert odd == Settings({"VERS_API_KEY": "an-odd-key-without-a-public-half-in-it"}).account()
    assert odd != Settings({"VERS_API_KEY": "an-odd-key-without-a-public-half-in-it2"}).account()
    assert Settings({"VERS_API_KEY": KEY, "VERS_BASE_URL": "nonsense"}).account() == ""


@pytest.mark.parametrize(
    ("env", "url"),
    [
        ({}, "https://api.vers.sh/api/v1"),
        ({"VERS_URL": "https://api.staging.vers.sh"}, "https://api.staging.vers.sh/api/v1"),
        ({"VERS_BASE_URL": "https://a.example/", "VERS_URL": "https://b.example"}, "https://a.example/api/v1"),
        ({"VERS_BASE_URL": " https://api.vers.sh/api/v1/ "}, "https://api.vers.sh/api/v1"),
        ({"VERS_BASE_URL": "http://127.0.0.1:8080"}, "http://127.0.0.1:8080/api/v1"),
        ({"VERS_BASE_URL": "http://[::1]:8080/proxy"}, "http://[::1]:8080/proxy/api/v1"),
    ],
)
def test_the_url_is_taken_with_or_without_its_prefix(env: dict[str, str], url: str) -> None:
    settings = Settings(env)
    assert settings.url() == url
    assert settings.url() == url


@pytest.mark.parametrize(
    "bad",
    [
        "api.vers.sh",
        "ftp://api.vers.sh",
        "https://",
        "https://user:hunter2@api.vers.sh",
        "https://a.example/?x=hunter2",
        "http://a:b",
        "http://[",
    ],
)
def test_a_url_that_is_none_is_named_and_not_quoted(bad: str) -> None:
    with pytest.raises(Unreachable) as caught:
        Settings({"VERS_BASE_URL": bad, "VERS_API_KEY": KEY}).access()
    assert caught.value.where == "VERS_BASE_URL"
    assert "hunter2" not in repr(caught.value)


@pytest.mark.parametrize(
    ("env", "endpoint"),
    [
        ({}, Endpoint(f"{VM}.vm.vers.sh", f"{VM}.vm.vers.sh", 443)),
        ({"VERS_URL": "https://api.staging.vers.sh"}, Endpoint(f"{VM}.vm.staging.vers.sh", f"{VM}.vm.staging.vers.sh", 443)),
        ({"VERS_URL": "http://127.0.0.1:1"}, Endpoint(f"{VM}.vm.vers.sh", f"{VM}.vm.vers.sh", 443)),
        ({"RECONCILER_VM_DOMAIN": ".sim.test."}, Endpoint(f"{VM}.sim.test", f"{VM}.sim.test", 443)),
        (
            {"RECONCILER_VM_DOMAIN": "sim.test", "RECONCILER_VM_GATEWAY": "127.0.0.1:8443", "RECONCILER_VM_CA": "/ca.pem"},
            Endpoint(f"{VM}.sim.test", "127.0.0.1", 8443, "/ca.pem"),
        ),
        ({"RECONCILER_VM_GATEWAY": "[::1]:8443"}, Endpoint(f"{VM}.vm.vers.sh", "::1", 8443)),
    ],
)
def test_a_vm_is_dialled_by_its_name_or_through_a_gateway(env: dict[str, str], endpoint: Endpoint) -> None:
    assert Settings(env).endpoint(VM) == endpoint


@pytest.mark.parametrize("gateway", ["host", "host:", ":443", "host:0", "host:70000", "host:ssh", "host:٣"])
def test_a_gateway_that_is_none_is_named(gateway: str) -> None:
    with pytest.raises(Unreachable) as caught:
        Settings({"RECONCILER_VM_GATEWAY": gateway}).endpoint(VM)
    assert caught.value.where == "RECONCILER_VM_GATEWAY"


@pytest.mark.guarantee("G-67")
@pytest.mark.parametrize("vm_id", ["", VM[:12], f"{VM}.evil", "vm"])
def test_only_a_full_id_is_dialled(vm_id: str) -> None:
    with pytest.raises(Unreachable, match="full id"):
        Settings({}).endpoint(vm_id)


def test_a_domain_that_is_none_is_named() -> None:
    with pytest.raises(Unreachable) as caught:
        Settings({"RECONCILER_VM_DOMAIN": "bad domain/"}).endpoint(VM)
    assert caught.value.where == "RECONCILER_VM_DOMAIN"
