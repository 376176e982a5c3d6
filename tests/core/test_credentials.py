"""What an answer of a program or file says, and when it is asked for again."""

from __future__ import annotations

import json

import pytest

from reconciler.core.credentials import Drawn, Unusable, again_after, answer_of, retry_after

NOW = 1_800_000_000.0
LATER = "2027-01-15T09:00:00Z"
EXEC_CREDENTIAL = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("word\n", Drawn("word")),
        ("word\r\n", Drawn("word")),
        ("two\nlines\n\n", Drawn("two\nlines\n")),
        ('{"value": "word"}', Drawn("word")),
        (json.dumps({"value": "word", "expiresAt": LATER}), Drawn("word", NOW + 3600)),
        (json.dumps({"value": "word", "expiresAt": "2027-01-15T10:00:00+01:00"}), Drawn("word", NOW + 3600)),
        (json.dumps({**EXEC_CREDENTIAL, "status": {"token": "word"}}), Drawn("word")),
        (json.dumps({**EXEC_CREDENTIAL, "status": {"token": "word", "expirationTimestamp": LATER}}), Drawn("word", NOW + 3600)),
        ('{"type": "service_account", "value": 1}', Drawn('{"type": "service_account", "value": 1}')),
        ('{"not": JSON', Drawn('{"not": JSON')),
        ('{"a":' * 20_000, Drawn('{"a":' * 20_000)),
    ],
)
def test_what_an_answer_says(text: str, drawn: Drawn) -> None:
    assert answer_of(text, NOW) == drawn


@pytest.mark.guarantee("G-60")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        '{"value": ""}',
        '{"value": 7391}',
        json.dumps({"value": "do-not-tell", "expiresAt": "tomorrow"}),
        json.dumps({"value": "do-not-tell", "expiresAt": 7391}),
        json.dumps({"value": "do-not-tell", "expiresAt": "2027-01-15T07:59:59Z"}),
        json.dumps({"value": "do-not-tell", "expiresAt": "2027-01-15T09:00:00"}),
        json.dumps({**EXEC_CREDENTIAL, "status": {"clientKeyData": "do-not-tell"}}),
        json.dumps(EXEC_CREDENTIAL),
    ],
)
def test_what_gives_no_value_says_why_and_shows_none_of_it(text: str) -> None:
    found = answer_of(text, NOW)
    assert isinstance(found, Unusable)
    assert "do-not-tell" not in found.why
    assert "7391" not in found.why


def test_no_representation_has_the_value() -> None:
    assert "word" not in repr(Drawn("word", NOW))


def test_a_value_is_renewed_well_before_its_end() -> None:
    for life in (15.0, 60.0, 900.0, 3600.0, 86_400.0, 30 * 86_400.0):
        pause = again_after(Drawn("x", NOW + life), NOW, 10.0)
        assert life / 2 < pause <= life - min(3600.0, life / 3)
    assert again_after(Drawn("x"), NOW, 77.0) == 77.0


def test_a_failure_is_tried_again_before_the_last_value_ends() -> None:
    assert retry_after(1, 0.0, None) == 5.0
    assert retry_after(50, 0.0, None) == 60.0
    assert retry_after(50, 0.0, 12.0) == 12.0
    assert retry_after(50, 0.0, -1.0) == 60.0
