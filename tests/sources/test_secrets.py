"""Secrets of file mode: found, fresh, and refused when others may read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.snapshot.rendered import SecretRef
from reconciler.engine.observe.content import missing
from reconciler.engine.ports import Secrets
from reconciler.errors import Refused
from reconciler.sources.secrets import FileSecrets, variable

VALUE = "s3cr3t-value"


def put(root: Path, value: bytes = VALUE.encode(), mode: int = 0o600, where: str = "default/llm/token") -> Path:
    path = root / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(value)
    path.chmod(mode)
    return path


def test_files_come_before_the_environment(tmp_path: Path) -> None:
    secrets: Secrets = FileSecrets(tmp_path, {"RECONCILER_SECRET_LLM_TOKEN": "from env", "RECONCILER_SECRET_LLM_OTHER_KEY": "only env"})
    assert secrets.get("default", "llm", "token") == "from env"
    put(tmp_path)
    assert secrets.get("default", "llm", "token") == VALUE
    assert secrets.get("web", "llm", "token") == "from env"
    assert secrets.get("default", "llm", "other.key") == "only env"
    assert secrets.get("default", "llm", "none") is None
    assert FileSecrets(None, {}).get("default", "llm", "token") is None


def test_a_corrected_value_counts_at_once_and_both_are_known(tmp_path: Path) -> None:
    secrets = FileSecrets(tmp_path, {})
    put(tmp_path, b"old")
    assert secrets.get("default", "llm", "token") == "old"
    put(tmp_path, b"older and longer\n")
    assert secrets.get("default", "llm", "token") == "older and longer"
    put(tmp_path, b"", where="default/llm/empty")
    assert secrets.get("default", "llm", "empty") == ""
    assert list(secrets.known()) == ["older and longer", "old"]


@pytest.mark.parametrize(("raw", "value"), [(b"a\n", "a"), (b"a\r\n", "a"), (b"a\n\n", "a\n"), (b" a b ", " a b ")])
def test_one_newline_at_the_end_is_not_part_of_it(tmp_path: Path, raw: bytes, value: str) -> None:
    put(tmp_path, raw)
    assert FileSecrets(tmp_path, {}).get("default", "llm", "token") == value


@pytest.mark.guarantee("G-60")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = put(tmp_path, mode=mode)
    with pytest.raises(Refused, match="chmod 600") as caught:
        FileSecrets(tmp_path, {"RECONCILER_SECRET_LLM_TOKEN": "from env"}).get("default", "llm", "token")
    assert str(path) in str(caught.value)
    assert VALUE not in str(caught.value)


@pytest.mark.guarantee("G-60")
def test_what_is_no_text_is_refused_without_saying_it(tmp_path: Path) -> None:
    secrets = FileSecrets(tmp_path, {})
    put(tmp_path, VALUE.encode() + b"\xff")
    with pytest.raises(Refused, match="UTF-8") as caught:
        secrets.get("default", "llm", "token")
    assert caught.value.__cause__ is None
    assert VALUE not in repr(caught.value)
    put(tmp_path, b"x" * ((1 << 20) + 1))
    with pytest.raises(Refused, match="1 MiB"):
        secrets.get("default", "llm", "token")
    assert list(secrets.known()) == []
    (tmp_path / "default" / "dir" / "key").mkdir(parents=True)
    with pytest.raises(Refused):
        secrets.get("default", "dir", "key")


@pytest.mark.parametrize("parts", [("..", "llm", "token"), ("default", "../default/llm", "token"), ("default", "llm", "..")])
def test_names_do_not_lead_anywhere_else(tmp_path: Path, parts: tuple[str, str, str]) -> None:
    put(tmp_path)
    assert FileSecrets(tmp_path / "default", {}).get(*parts) is None


def test_a_link_that_leads_out_is_refused_and_one_within_is_fine(tmp_path: Path) -> None:
    inside = put(tmp_path / "secrets", where="default/..data/token")
    (inside.parent.parent / "llm").symlink_to("..data")
    secrets = FileSecrets(tmp_path / "secrets", {})
    assert secrets.get("default", "llm", "token") == VALUE
    outside = put(tmp_path, where="outside")
    (tmp_path / "secrets" / "default" / "..data" / "escaped").symlink_to(outside)
    with pytest.raises(Refused, match="leads out"):
        secrets.get("default", "llm", "escaped")


def test_names_of_variables() -> None:
    assert variable("my-llm.prod", "api_key") == "RECONCILER_SECRET_MY_LLM_PROD_API_KEY"


def test_values_are_not_in_its_repr(tmp_path: Path) -> None:
    put(tmp_path)
    secrets = FileSecrets(tmp_path, {"RECONCILER_SECRET_A_B": VALUE})
    secrets.get("default", "llm", "token")
    assert VALUE not in repr(secrets)


def test_a_secret_that_is_missing_is_told_from_one_without_the_key(tmp_path: Path) -> None:
    put(tmp_path)
    secrets = FileSecrets(tmp_path, {"RECONCILER_SECRET_CLOUD_TOKEN": "x"}, tmp_path / "configs")
    (tmp_path / "configs" / "default" / "texts").mkdir(parents=True)
    assert missing(SecretRef("llm", "other"), "default", secrets) == "Secret llm in namespace default has no key other; add it"
    assert missing(SecretRef("cloud", "other"), "default", secrets) == "Secret cloud in namespace default has no key other; add it"
    assert missing(SecretRef("lim", "token"), "default", secrets) == (
        "Secret lim is not in namespace default; create it with the key token"
    )
    assert missing(SecretRef("llm", "token"), "web", secrets) == "Secret llm is not in namespace web; create it with the key token"
    assert "has no key a" in missing(SecretRef("texts", "a", "ConfigMap"), "default", secrets)
    assert "is not in namespace" in missing(SecretRef("llm", "a", "ConfigMap"), "default", secrets)
