"""A body says what is asked and how; what cannot be honoured is refused, by the name of its parameter."""

import json
from typing import Any

import pytest

from mlx_trace.config import VOTING_TEMPERATURE
from mlx_trace.decode.params import SamplingParams
from mlx_trace.serve.inquiry import ChatBody, Inquiry, Refusal, Served, read_inquiry
from mlx_trace.serve.parameters import LET_PASS, NEUTRAL

SERVED = Served("tiny", 400)
EGGS = "I had 20 eggs and sold 4 of them. How many are left?"


def said(content: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": content}


def read(served: Served = SERVED, **body: Any) -> Inquiry:
    return read_inquiry(json.dumps({"messages": [said(EGGS)]} | body).encode(), served)


def test_the_question_is_what_the_user_said_last() -> None:
    parts = [{"type": "text", "text": "I had 20 eggs\n"}, {"type": "text", "text": " and sold 4."}]
    last = [said(parts), said("How many are left?")]
    inquiry = read(messages=[said("Be brief.", "system"), said("4 and 5?"), said("9", "assistant"), *last])
    assert (inquiry.question, inquiry.unread) == ("I had 20 eggs and sold 4. How many are left?", 3)
    assert read(messages=last).unread == 0


@pytest.mark.parametrize(
    ("body", "params"),
    [
        ({}, SamplingParams(400)),
        ({"temperature": 0, "n": 3}, SamplingParams(400, n=3)),
        ({"seed": 3}, SamplingParams(400, seed=3)),
        ({"samples": 8, "seed": 3}, SamplingParams(400, VOTING_TEMPERATURE, 8, 3)),
        ({"n": 8, "seed": 0}, SamplingParams(400, VOTING_TEMPERATURE, 8)),
        ({"max_tokens": 99}, SamplingParams(99)),
        ({"max_completion_tokens": 99, "max_tokens": 99}, SamplingParams(99)),
        ({"max_tokens": 4096}, SamplingParams(400)),
        ({"max_tokens": -1, "max_completion_tokens": -1, "seed": -1}, SamplingParams(400)),
        ({"n": None, "temperature": None, "stop": None, "tools": None}, SamplingParams(400)),
        ({"user": "x", "top_p": 1.0, "presence_penalty": 0, "response_format": {"type": "text"}}, SamplingParams(400)),
    ],
)  # fmt: skip
def test_what_can_be_honoured_is(body: dict[str, Any], params: SamplingParams) -> None:
    inquiry = read(**body)
    assert inquiry.params == params
    assert inquiry.is_vote == ("samples" in body)


def test_without_a_seed_each_request_is_sampled_afresh() -> None:
    assert read(temperature=1).params.seed != read(temperature=1).params.seed
    assert read(Served("tiny", 400, seed=5), temperature=1).params.seed == 5


def test_a_server_that_votes_does_so_unless_a_request_says_otherwise() -> None:
    served = Served("tiny", 400, samples=8)
    assert read(served).params.n == 8
    assert read(served).is_vote
    for body in ({"samples": 1}, {"temperature": 0}):
        assert read(served, **body).params.n == 1
    assert not read(served, n=2, seed=1).is_vote


BAD: list[tuple[dict[str, Any], str | None]] = [
    ({"messages": []}, "messages"),
    ({"messages": "4 and 5?"}, "messages"),
    ({"messages": ["4 and 5?"]}, "messages[0].role"),
    ({"messages": [said("4 and 5?", "wizard")]}, "messages[0].role"),
    ({"messages": [{"role": ["user"], "content": "4"}]}, "messages[0].role"),
    ({"messages": [said(EGGS), said("16", "assistant")]}, "messages"),
    ({"messages": [said(None)]}, "messages[0].content"),
    ({"messages": [said(4)]}, "messages[0].content"),
    ({"messages": [said([{"type": "image_url", "image_url": {"url": "x"}}])]}, "messages[0].content[0]"),
    ({"messages": [said([{"type": "text", "text": 4}])]}, "messages[0].content[0]"),
    ({"messages": [said(" \n")]}, "messages"),
    ({"messages": [said("4 \0 5")]}, "messages[0].content"),
    ({"messages": [said("4 \ud800 5")]}, "messages[0].content"),
    ({"messages": [said("4" * 10_001)]}, "messages"),
    ({"model": "gpt-5"}, "model"),
    ({"model": 5}, "model"),
    ({"model": "\ud800"}, "model"),
    ({"n": -1}, "n"),
    ({"n": 0}, "n"),
    ({"n": 1.5}, "n"),
    ({"n": True}, "n"),
    ({"n": 129}, "n"),
    ({"n": 10**400}, "n"),
    ({"samples": "8"}, "samples"),
    ({"samples": 2, "n": 2}, "samples"),
    ({"samples": 2, "temperature": 0}, "temperature"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": float("nan")}, "temperature"),
    ({"temperature": float("inf")}, "temperature"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": -2}, "max_tokens"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"max_completion_tokens": "x"}, "max_completion_tokens"),
    ({"max_tokens": 5, "max_completion_tokens": 6}, "max_completion_tokens"),
    ({"seed": -2}, "seed"),
    ({"seed": "x"}, "seed"),
    ({"stop": ""}, "stop"),
    ({"stop": ["a", 1]}, "stop"),
    ({"stop": ["a"] * 17}, "stop"),
    ({"stop": "\ud800"}, "stop"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": 1}, "stream_options"),
    ({"stream": True, "stream_options": {"include_usage": "x"}}, "stream_options.include_usage"),
    ({"top_p": 0.9}, "top_p"),
    ({"logprobs": True}, "logprobs"),
    ({"tools": [{"type": "function"}]}, "tools"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}}, "response_format"),
    ({"logit_bias": {"5": 1}}, "logit_bias"),
    ({"best_of": 3}, "best_of"),
    ({"best_of": True}, "best_of"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": [{"type": "function"}], "tool_choice": "auto"}, "tools"),
    ({"adapters": "x"}, "adapters"),
    ({"ignore_eos": True}, "ignore_eos"),
    ({"min_tokens": 5}, "min_tokens"),
    ({"guided_json": {}}, "guided_json"),
    ({"temprature": 1}, "temprature"),
    ({"\ud800": 1}, "\ud800"),
]


@pytest.mark.parametrize(("body", "param"), BAD, ids=[json.dumps(body)[:40] for body, _ in BAD])
def test_what_cannot_be_honoured_is_refused_by_name(body: dict[str, Any], param: str | None) -> None:
    with pytest.raises(Refusal) as refused:
        read(**body)
    assert refused.value.param == param
    assert 400 <= refused.value.status < 500
    assert refused.value.message


@pytest.mark.parametrize("name", [*sorted(LET_PASS), *NEUTRAL])
def test_what_asks_for_nothing_changes_nothing(name: str) -> None:
    for value in NEUTRAL.get(name, ("high", {"a": 1}, True)):
        assert read(**{name: value}) == read()
    assert name not in ChatBody.model_fields


def test_tools_that_are_not_to_be_called_change_nothing() -> None:
    tools = [{"type": "function", "function": {"name": "add"}}]
    assert read(tools=tools, tool_choice="none") == read()
    assert read(logit_bias={"5": 0}) == read()


def test_a_refusal_says_what_can_be_said_instead() -> None:
    for body, said in (({"best_of": 3}, "samples"), ({"response_format": {"type": "json_object"}}, "mlx_trace")):
        with pytest.raises(Refusal, match=said):
            read(**body)


def test_the_limit_is_called_as_it_was_sent() -> None:
    assert read(max_tokens=99).limit == "max_tokens"
    assert read(max_completion_tokens=99).limit == "max_completion_tokens"
    assert read(max_completion_tokens=4096).limit is None  # the server's own is less
    assert read().limit is None


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", b"[]", b"4", b"null", b'{"messages": [', b"\x00", b'{"n": \x00}', b"\xff\xfe", b"[" * 100_000,
     b'{"n": ' + b"9" * 5000 + b"}"],
    ids=lambda data: repr(data[:9]),
)  # fmt: skip
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(Refusal):
        read_inquiry(data, SERVED)
