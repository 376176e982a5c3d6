"""The provider of a model: what its errors mean, and the breaker that keeps prompts from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.reasons import Reason
from reconciler.core.provider.breaker import CLOSED, FIRST_PROBE, LONGEST_PAUSE, MOST, REFUSED_PAUSE, ProviderBreaker, kept, read_kept
from reconciler.core.provider.trouble import LONGEST_ASKED, Remedy, Trouble, asked_to_wait, status_of, trouble_of
from reconciler.core.snapshot.provider import Provider

T, C, R = Remedy.TIME, Remedy.CHANGE, Remedy.REQUEST

OVERFLOWS = (
    '400: {"message":"context_length_exceeded: too long"}',
    '400: {"message":"This model\'s maximum context length is 128000 tokens. However, your messages resulted in 130012 tokens."}',
    '400 {"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 213462 tokens > 200000 maximum"}}',
    "Your input exceeds the context window of this model. Please adjust your input and try again.",
    '{"error":{"code":400,"message":"The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",'
    '"status":"INVALID_ARGUMENT"}}',
    '400: {"message":"the request exceeds the available context size, try increasing it"}',
)

ERRORS = [
    # as pi 1.5.2 words them for chat completions (pi-rpc §3)
    ('429: {"message":"Rate limit reached","type":"scripted","code":429}', T),
    ('429: {"message":"You exceeded your current quota, please check your plan and billing details."}', T),
    ('529: {"message":"Overloaded","type":"overloaded_error","code":529}', T),
    ('503: {"message":"overloaded","code":503}', T),
    ("502: <html>Bad Gateway</html>", T),
    ('402: {"message":"Insufficient balance"}', T),
    ("Connection error.: bad port", T),
    ("Connection error.", T),
    ("Request timed out", T),
    ("Body Timeout Error", T),
    ("fetch failed", T),
    ("connect ECONNREFUSED 127.0.0.1:9", T),
    ("getaddrinfo ENOTFOUND api.example.com", T),
    ("Stream ended without finish_reason", T),
    ('500: {"message":"Internal server error"}', T),
    # of other providers
    ('429 {"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your rate limit."}}', T),
    ('{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', T),
    ('400 {"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the API."}}', T),
    ('{"error":{"code":429,"message":"Resource has been exhausted","status":"RESOURCE_EXHAUSTED"}}', T),
    ("Server requested 3300s retry delay (max: 60s). Rate limited", T),
    ('401: {"message":"Incorrect API key provided"}', C),
    ('403: {"message":"forbidden"}', C),
    ("No API key found for the selected model.\n\nUse /login to log into a provider via OAuth or API key.", C),
    ('{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}', C),
    ('401 {"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}', C),
    ('404: {"message":"The model `x` does not exist or you do not have access to it."}', C),
    ('404 {"type":"error","error":{"type":"not_found_error","message":"model: claude-nope"}}', C),
    ('400: {"message":"Model not found: x"}', C),
    ('400: {"message":"Invalid value for temperature"}', R),
    ('413: {"message":"the request is too large"}', R),
    *((words, R) for words in OVERFLOWS),
    ("ENOSPC: no space left on device", R),
    ("content was flagged", R),
    ("", R),
]


@pytest.mark.parametrize(("error", "remedy"), ERRORS)
def test_what_mends_an_error_is_read_from_what_pi_reports(error: str, remedy: Remedy) -> None:
    assert trouble_of(error).remedy is remedy


@pytest.mark.parametrize(("error", "remedy"), ERRORS)
def test_what_is_more_than_a_model_takes_is_told_as_that(error: str, remedy: Remedy) -> None:
    overflow = error in OVERFLOWS
    assert (trouble_of(error).reason is Reason.CONTEXT_TOO_LONG) is overflow


def test_an_unknown_model_concerns_no_other_model_and_a_wrong_key_does() -> None:
    assert trouble_of('404: {"message":"The model `x` does not exist"}').only_model
    assert not trouble_of('401: {"message":"Incorrect API key"}').only_model


def test_an_error_that_the_request_may_cause_itself_is_told_from_a_limit() -> None:
    assert trouble_of('500: {"message":"Internal server error"}').suspect
    assert trouble_of("Stream ended without finish_reason").suspect
    assert not trouble_of('503: {"message":"overloaded"}').suspect


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        ("Server requested 3300s retry delay (max: 60s)", 3300.0),
        ("429: Please try again in 20s.", 20.0),
        ("429: Please try again in 250ms.", 0.25),
        ("429: try again in 2 minutes", 120.0),
        ('429: {"retry_after": 12}', 12.0),
        ("retry-after: 999999999", LONGEST_ASKED),
        ("429: no word", 0.0),
    ],
)
def test_how_long_the_provider_asks_to_be_left_alone(error: str, seconds: float) -> None:
    assert asked_to_wait(error) == seconds


@given(st.text(max_size=300))
def test_any_text_has_a_meaning(error: str) -> None:
    found = trouble_of(error)
    assert 0 <= found.retry_after <= LONGEST_ASKED
    assert status_of(error) in (0, *range(400, 600))


LIMIT, REFUSAL = Trouble(T), Trouble(C)


def test_closed_it_stops_nobody() -> None:
    assert not CLOSED.blocks(1000.0, False)
    assert CLOSED.probe(1000.0, "one") == CLOSED


def test_one_probe_at_a_time_and_nobody_else_while_it_is_under_way() -> None:
    opened = CLOSED.failed(LIMIT, "429", 1000.0)
    assert opened.blocks(1000.0 + FIRST_PROBE - 1, False)
    due = opened.next_probe
    assert not opened.blocks(due, False)
    probing = opened.probe(due, "one")
    assert probing.blocks(due, True)
    assert probing.blocks(probing.next_probe + 1, True), "its probe still runs"
    assert not probing.blocks(probing.next_probe + 1, False), "its prober is gone"


def test_what_the_provider_asks_for_is_waited() -> None:
    opened = CLOSED.failed(Trouble(T, retry_after=3300.0), "429", 1000.0)
    assert opened.next_probe == 4300.0
    again = opened.probe(4300.0, "one").failed(Trouble(T, retry_after=5000.0), "429", 4301.0)
    assert again.next_probe == 9301.0
    assert again.since == 1000.0


def test_probes_grow_rarer_and_an_hour_without_the_provider_costs_few() -> None:
    breaker, now, probes = CLOSED.failed(LIMIT, "429", 0.0), 0.0, 0
    while now < 3600.0:
        now = breaker.next_probe
        breaker = breaker.probe(now, "one").failed(LIMIT, "429", now + 1)
        probes += 1
    assert probes <= 9
    assert breaker.next_probe - now <= LONGEST_PAUSE


def test_one_that_refuses_is_asked_again_after_a_long_time_or_at_once_when_a_person_wants_it() -> None:
    opened = CLOSED.failed(REFUSAL, "401", 1000.0)
    assert opened.next_probe == 1000.0 + REFUSED_PAUSE
    assert not opened.asked_for(1010.0).blocks(1010.0, False)
    assert CLOSED.asked_for(1010.0) == CLOSED


def test_it_outlives_the_controller_and_anything_unreadable_is_closed() -> None:
    breakers = {"a": CLOSED.failed(LIMIT, "429", 1.0).probe(40.0, "one"), "b": CLOSED}
    assert read_kept(kept(breakers)) == {"a": breakers["a"]}
    assert kept({"b": CLOSED}) == ""
    for text in ("", "[", "[]", "7", '{"a": 1}', '{"a": {"reason": 1}}'):
        assert read_kept(text) == {}


def test_what_is_kept_is_bounded() -> None:
    many = {str(n): ProviderBreaker(str(Reason.PROVIDER_LIMITED), "m", float(n)) for n in range(MOST + 7)}
    left = read_kept(kept(many))
    assert len(left) == MOST
    assert "0" not in left


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ('401: {"message":"Incorrect API key provided"}', "correct Secret s key k"),
        ('404: {"message":"The model `m` does not exist"}', "declare a `model` that it has instead of acme/m"),
        ('429: {"message":"You exceeded your current quota"}', "raise the quota or add credit"),
        ('402: {"message":"Insufficient balance"}', "raise the quota or add credit"),
        ("connect ECONNREFUSED 127.0.0.1:9", "see that the machine reaches its address"),
        ('429: {"message":"Rate limit reached"}', "nothing has to be done"),
        ('503: {"message":"overloaded"}', "nothing has to be done"),
        ("", "correct Secret s key k"),
    ],
)
def test_people_are_told_the_key_the_cause_and_what_to_do(error: str, said: str) -> None:
    trouble = trouble_of(error) if error else REFUSAL
    words = Provider(name="acme", model="acme/m", key="Secret s key k", breaker=CLOSED.failed(trouble, error, 0.0)).words
    assert words.startswith("acme (Secret s key k) ")
    assert error in words
    assert f"; {said}" in words


def test_a_provider_without_a_declared_key_needs_one() -> None:
    refused = CLOSED.failed(REFUSAL, "No API key found for the selected model.", 0.0)
    assert "declare its key in `env` or `agent.providers`" in Provider(name="acme", breaker=refused).words
