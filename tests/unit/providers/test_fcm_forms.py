"""From the second push of a send on, messages are forms filled in: nobody may see that in them."""

from __future__ import annotations

import datetime as dt
import gc
import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from server.domain.outcomes import Rejected
from server.domain.pushes import Content, InterruptionLevel, Presentation, Priority, Push
from server.domain.reasons import Reason
from server.providers.fcm import message
from server.providers.fcm.forms import KEPT, Form, Forms

NOW = 1_800_000_000.5
PLAIN = Push(UUID(int=1), "a-token", Content(title="Hi", body="There"), Presentation())

NULL = st.none()
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", "null", "%", "%b %(x)s %%", '"', "\\", "\x00\u2028", "1800000000", "3600", "https://", "pharosPushId", "{}"]
)
LONG = st.sampled_from(["x" * 4000, "é" * 2000, '"' * 3000])
BROKEN = st.just("\ud83d")
LINKS = st.sampled_from(["OPEN", "http://example.com", "https://example.com/%20", 'https://x/"'])
DATA = st.dictionaries(WORDS, WORDS, max_size=3)
CONTENTS = st.builds(
    Content,
    title=NULL | WORDS | LONG | BROKEN,
    body=NULL | WORDS | LONG,
    subtitle=NULL | WORDS,
    image=NULL | WORDS,
    click_action=NULL | WORDS | LINKS,
    data=DATA,
)
PRESENTATIONS = st.builds(
    Presentation,
    priority=st.sampled_from(Priority),
    sound=NULL | WORDS,
    badge=NULL | st.integers(0, 9),
    category=NULL | WORDS,
    thread_id=NULL | WORDS,
    collapse_key=NULL | WORDS,
    icon=NULL | WORDS,
    color=NULL | st.just("#aabbcc"),
    channel_id=NULL | WORDS,
    interruption_level=NULL | st.sampled_from(InterruptionLevel),
    relevance_score=NULL | st.floats(0, 1),
    mutable_content=st.booleans(),
    content_available=st.booleans(),
)
PARTS = st.sampled_from(
    ["token", "data", "notification", "android", "apns", "webpush", "title", "ttl", "tag", "headers", "payload", "aps"]
)
OVERRIDES = st.dictionaries(
    PARTS,
    st.recursive(NULL | WORDS | st.integers(), lambda inner: st.dictionaries(PARTS | WORDS, inner), max_leaves=6),
    max_size=3,
).filter(lambda each: isinstance(each.get("data", {}), dict | None))
EXPIRIES = NULL | st.floats(-10, 3_000_000).map(lambda s: dt.datetime.fromtimestamp(NOW + s, dt.UTC))
PUSHES = st.builds(Push, st.uuids(), WORDS, CONTENTS, st.just(Presentation()), EXPIRIES)


def composed(push: Push) -> Any:
    """What the message is without forms."""
    try:
        made, encoded = message.compose(push, NOW)
    except UnicodeEncodeError:
        return Rejected(Reason.PAYLOAD_REJECTED, "INVALID_UNICODE", called=False)
    if len(encoded) > message.LARGEST_PAYLOAD < message.counted_bytes(made):
        return Rejected(Reason.PAYLOAD_TOO_LARGE, "MESSAGE_TOO_BIG", called=False)
    return json.loads(encoded)


def sent(push: Push) -> Any:
    found = message.body(push, NOW)
    return json.loads(found) if isinstance(found, bytes) else found


@given(PRESENTATIONS, st.just({}) | OVERRIDES, st.lists(PUSHES, min_size=1, max_size=8))
@settings(max_examples=500, deadline=None)
def test_every_message_of_a_send_is_as_if_it_were_the_only_one(
    presentation: Presentation, overrides: dict[str, Any], pushes: list[Push]
) -> None:
    for push in (replace(each, presentation=presentation, overrides=overrides) for each in pushes):
        assert [sent(push) for _ in range(3)] == [composed(push)] * 3


def test_sends_do_not_take_each_others_forms() -> None:
    sounds = [Presentation(sound=f"sound-{n}") for n in range(KEPT + 1)]
    for _ in range(3):
        for presentation in sounds:
            found = sent(replace(PLAIN, presentation=presentation))
            assert found["message"]["android"]["notification"]["sound"] == presentation.sound


def test_pushes_that_differ_in_their_overrides_are_told_apart() -> None:
    sounds = [{"android": {"notification": {"sound": f"sound-{n}"}}} for n in range(3)]
    for _ in range(3):
        for overrides in [*sounds, {}]:
            push = replace(PLAIN, overrides=overrides)
            assert sent(push) == composed(push)


def test_a_send_may_be_where_another_was_in_memory() -> None:
    for n in range(300):
        presentation = Presentation(sound=f"sound-{n}")
        for _ in range(3):
            found = sent(replace(PLAIN, presentation=presentation))
            assert found["message"]["android"]["notification"]["sound"] == presentation.sound
        del presentation
        gc.collect(0)


def test_the_second_push_makes_the_form_and_all_others_use_it() -> None:
    made: list[Push] = []

    def make(push: Push) -> Form:
        made.append(push)
        return Form(b"ab", [b"a", b"b"])

    forms = Forms(make)
    assert forms.form_of(PLAIN, "shape") is None
    assert not made
    second, *later = [forms.form_of(replace(PLAIN, push_id=UUID(int=n)), "shape") for n in range(5)]
    assert second is not None
    assert later == [second] * 4
    assert len(made) == 1


def test_i14_the_forms_kept_are_few() -> None:
    forms = Forms(lambda _: Form(b"ab", [b"a", b"b"]))
    for _ in range(2):
        assert forms.form_of(PLAIN, "oldest") is None
        for n in range(KEPT):
            assert forms.form_of(PLAIN, n) is None


@pytest.mark.parametrize("text", [b"%", b"%%b", b"%s %(a)b"])
def test_a_form_keeps_what_looks_like_a_gap(text: bytes) -> None:
    form = Form(b"[" + text + b"A,B,A" + text, [b"A", b"B"])
    assert form.filled([b"1%b", b"2"]) == b"[" + text + b"1%b,2,1%b" + text
