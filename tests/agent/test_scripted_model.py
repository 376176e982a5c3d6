"""The scripted model, spoken to as pi does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2 as httpx
import pytest

from reconciler.agent.scripted_model import ScriptedModel, provider, read_step
from reconciler.core.keys import Json
from reconciler.errors import InvalidSpec


@pytest.fixture
async def model() -> AsyncIterator[ScriptedModel]:
    rules: list[tuple[str, list[Json]]] = [
        ("(?i)build", [{"tool": "bash", "args": {"command": "make"}}, {"say": "built"}]),
        ("^hello", [{"say": "hi"}]),
    ]
    async with ScriptedModel(rules) as it:
        yield it


async def post(model: ScriptedModel, *messages: tuple[str, str], **more: Any) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        body = {"model": "scripted", "stream": True, "messages": [{"role": r, "content": c} for r, c in messages], **more}
        return await client.post(f"{model.url}/chat/completions", json=body, headers={"authorization": "Bearer k"}, timeout=20)


def read(response: httpx.Response) -> tuple[str, list[tuple[str, Json]], str, dict[str, int]]:
    """Text, tool calls, finish reason and usage of a streamed answer."""
    assert response.status_code == 200
    lines = [line.removeprefix("data: ") for line in response.text.split("\n") if line]
    assert lines[-1] == "[DONE]"
    text, calls, finish, usage = "", [], "", {}
    for chunk in map(json.loads, lines[:-1]):
        usage = chunk.get("usage", usage)
        for choice in chunk["choices"]:
            text += choice["delta"].get("content", "")
            calls += [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in choice["delta"].get("tool_calls", [])]
            finish = choice["finish_reason"] or finish
    return text, calls, finish, usage


async def test_steps_follow_the_answers_given_and_the_last_repeats(model: ScriptedModel) -> None:
    script = 'do <<<[{"say":"one"},{"tools":[["read",{"a":1}],["bash",{}]]},{"say":"abc","chunks":3,"input_tokens":5,"output_tokens":6}]>>>'
    said: list[tuple[str, str]] = [("system", "s"), ("user", "old"), ("assistant", "x"), ("user", script)]
    assert read(await post(model, *said)) == ("one", [], "stop", {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110})
    said.append(("assistant", "one"))
    assert read(await post(model, *said))[1:3] == ([("read", {"a": 1}), ("bash", {})], "tool_calls")
    said += [("tool", "r"), ("assistant", "two")]
    for _ in range(2):
        assert read(await post(model, *said)) == ("abc", [], "stop", {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11})
        said.append(("assistant", "again"))
    assert [r.step for r in model.requests] == [0, 1, 2, 3]
    assert model.requests[0].authorization == "Bearer k"
    assert "Bearer k" not in repr(model.requests[0])
    assert (model.requests[0].system, model.requests[0].user) == ("s", script)


async def test_rules_answer_where_there_is_no_script(model: ScriptedModel) -> None:
    assert read(await post(model, ("user", "please BUILD it")))[1] == [("bash", {"command": "make"})]
    assert read(await post(model, ("user", "please BUILD it"), ("assistant", ""), ("tool", "")))[0] == "built"
    assert read(await post(model, ("user", "hello")))[0] == "hi"
    assert read(await post(model, ("user", "oh, hello")))[0] == "ok"
    assert read(await post(model, ("user", 'build <<<[{"say":"no"}]>>>')))[0] == "no"
    assert read(await post(model, ("system", "You do context summarization."), ("user", "build")))[0].startswith("Summary")


async def test_errors_for_so_many_times(model: ScriptedModel) -> None:
    script = '<<<[{"status":529,"message":"busy","retry_after":3,"times":2,"then":{"say":"at last"}}]>>>'
    for _ in range(2):
        response = await post(model, ("user", script))
        assert (response.status_code, response.headers["retry-after"], response.json()["error"]["message"]) == (529, "3", "busy")
    assert read(await post(model, ("user", script)))[0] == "at last"


async def test_a_connection_that_is_cut(model: ScriptedModel) -> None:
    with pytest.raises(httpx.TransportError):
        await post(model, ("user", '<<<[{"say":"abcdef","chunks":6,"cut":3}]>>>'))
    assert read(await post(model, ("user", "hello")))[0] == "hi"


async def test_stopping_ends_what_hangs() -> None:
    model = ScriptedModel()
    await model.start()
    asking = asyncio.create_task(post(model, ("user", '<<<[{"hang":true}]>>>')))
    async with asyncio.timeout(10):
        while not model.requests:  # noqa: ASYNC110 - a request has no event
            await asyncio.sleep(0.005)
    await model.stop()
    with pytest.raises(httpx.TransportError):
        await asking


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("<<<nope>>>", "no JSON"),
        ("<<<[]>>>", "list of steps"),
        ("<<<{}>>>", "list of steps"),
        ("<<<[1]>>>", "must be an object"),
        ('<<<[{"sya":"x"}]>>>', "no field sya"),
        ('<<<[{"say":1}]>>>', "must be of type str"),
        ('<<<[{"tools":[["x"]]}]>>>', "[name, args]"),
    ],
)
async def test_a_wrong_script_says_what_is_wrong(model: ScriptedModel, script: str, problem: str) -> None:
    response = await post(model, ("user", script))
    assert response.status_code == 400
    assert problem in response.json()["error"]["message"]


async def test_what_is_no_chat_request_is_refused(model: ScriptedModel) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        for body in (b"", b"x", b"[]", b"{}", b'{"messages":1}'):
            assert (await client.post(f"{model.url}/chat/completions", content=body)).status_code == 400
        assert (await client.get(f"{model.url}/models")).json()["data"][0]["id"] == "scripted"


def test_rules_are_checked_when_they_are_given() -> None:
    with pytest.raises(InvalidSpec, match="no field nope"):
        ScriptedModel([("x", [{"nope": 1}])])
    assert read_step({}).text == ""
    assert read_step({"say_length": 3}).text == "xxx"


def test_the_provider_names_a_variable_not_a_secret() -> None:
    entry = provider("http://127.0.0.1:1/v1")["providers"]
    assert isinstance(entry, dict)
    assert isinstance(entry["scripted"], dict)
    assert entry["scripted"]["apiKey"] == "$SCRIPTED_KEY"
