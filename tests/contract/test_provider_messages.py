"""What we send to FCM, held against Google's own machine-readable description of the API."""

from __future__ import annotations

import datetime as dt
import functools
import importlib.resources
import json
from typing import Any
from uuid import UUID

import hypothesis
import hypothesis.strategies as st
import jsonschema
import pytest

from server.domain.pushes import Content, InterruptionLevel, Presentation, Priority, Push
from server.providers.fcm import message

_DOCUMENT = "discovery_cache/documents/fcm.v1.json"
_FORMATS = {"google-duration": {"pattern": r"^[0-9]+(\.[0-9]{1,9})?s$"}, "int32": {"maximum": 2**31 - 1}}


def _json_schema(schema: Any) -> Any:
    """A discovery schema as a JSON schema in which an unknown field is an error, as it is for FCM."""
    if "$ref" in schema:
        return {"$ref": f"#/$defs/{schema['$ref']}"}
    if schema.get("type") == "any":
        return {}
    found = {key: schema[key] for key in ("type", "enum") if key in schema} | _FORMATS.get(schema.get("format"), {})
    if "items" in schema:
        found["items"] = _json_schema(schema["items"])
    if schema.get("type") == "object":
        found["properties"] = {name: _json_schema(part) for name, part in schema.get("properties", {}).items()}
        rest = schema.get("additionalProperties")
        found["additionalProperties"] = False if rest is None else _json_schema(rest)
    return found


@functools.cache
def validator() -> jsonschema.Draft202012Validator:
    text = importlib.resources.files("googleapiclient").joinpath(_DOCUMENT).read_text(encoding="utf-8")
    schemas = {name: _json_schema(schema) for name, schema in json.loads(text)["schemas"].items()}
    return jsonschema.Draft202012Validator({"$ref": "#/$defs/SendMessageRequest", "$defs": schemas})


_text = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_contents = st.builds(
    Content,
    title=_text,
    body=_text,
    subtitle=_text,
    image=st.sampled_from([None, "https://example.com/a.png"]),
    click_action=st.sampled_from([None, "OPEN", "https://example.com"]),
    data=st.dictionaries(st.text("abc", min_size=1), st.text(max_size=5)),
)
_presentations = st.builds(
    Presentation,
    priority=st.sampled_from(Priority),
    sound=_text,
    badge=st.none() | st.integers(0, 10_000),
    category=_text,
    thread_id=_text,
    collapse_key=_text,
    icon=_text,
    color=st.sampled_from([None, "#aabbcc"]),
    channel_id=_text,
    interruption_level=st.none() | st.sampled_from(InterruptionLevel),
    relevance_score=st.none() | st.floats(0, 1),
    mutable_content=st.booleans(),
    content_available=st.booleans(),
)
_expiries = st.none() | st.integers(-10, 10_000_000).map(lambda s: dt.datetime.fromtimestamp(1_800_000_000 + s, dt.UTC))
_pushes = st.builds(
    Push,
    push_id=st.uuids(),
    token=st.just("token"),
    content=_contents,
    presentation=_presentations,
    expires_at=_expiries,
)


@hypothesis.given(push=_pushes)
@hypothesis.settings(deadline=None, max_examples=200)
def test_every_message_is_one_that_google_describes(push: Push) -> None:
    for _ in range(3):  # of the same send, because only the first is put together
        body = message.body(push, 1_800_000_000)
        assert isinstance(body, bytes)
        validator().validate(json.loads(body))


def test_validator_knows_a_field_that_google_does_not() -> None:
    push = Push(UUID(int=1), "token", Content(title="Hi"), Presentation())
    body = message.body(push, 0)
    assert isinstance(body, bytes)
    document = json.loads(body)
    document["message"]["android"]["collapse_kee"] = "x"
    with pytest.raises(jsonschema.ValidationError):
        validator().validate(document)


def test_exactly_one_target() -> None:
    body = message.body(Push(UUID(int=1), "token", Content(title="Hi"), Presentation()), 0)
    assert isinstance(body, bytes)
    found = json.loads(body)["message"]
    assert {"fid", "token", "topic", "condition"} & found.keys() == {"token"}
