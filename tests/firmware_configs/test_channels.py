"""Channels in a profile: what contradicts is refused by name, and no text carries out what its egress does not list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_configs import template
from firmware_configs.consistency import faults
from firmware_configs.errors import ExpressionError
from firmware_configs.lineage import derive, why
from firmware_configs.loader import parse
from firmware_configs.profile import Profile
from tests.edge_agent.reach_house import PROFILE

CHANNELS = """
[[theme]]
name = "dinner"
[[channel]]
name = "phone"
kind = "in-app"
[[channel]]
name = "mail"
kind = "email"
adapter = "smtp"
[[channel]]
name = "panel"
kind = "display"
audience = "shared"
topic = "home/{device}/panel"
do_not_disturb = [{ when = "fields.meeting", reason = "a meeting" }]
[[placement]]
name = "offer"
trigger = { kind = "event", source = "touch" }
purposes = ["personalise"]
candidate = [{ item = "soup" }]
[placement.delivery]
channels = ["phone", "mail"]
theme = "dinner"
title = "Dinner"
text = "How about {item}?"
holds = "fields.open_window"
"""


def said(text: str) -> str:
    """Every fault of a profile, as one text."""
    loaded = parse_unchecked(PROFILE + text)
    return "\n".join(f"{one.where}: {one.what}; {one.fix}" for one in faults(loaded))


def parse_unchecked(text: str) -> Profile:
    """The structs, whatever contradicts."""
    import tomllib

    import msgspec

    return msgspec.convert(tomllib.loads(text), Profile)


def test_the_sound_profile_is_taken() -> None:
    assert said(CHANNELS) == ""
    parse(PROFILE + CHANNELS)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('channels = ["phone", "mail"]', 'channels = ["phone", "fax"]', "no channel `fax`"),
        ('channels = ["phone", "mail"]', 'channels = ["phone", "phone"]', "stands twice"),
        ('channels = ["phone", "mail"]', 'channels = ["panel"]', "a private choice, but others see"),
        ('theme = "dinner"', 'theme = "lunch"', "no theme `lunch`"),
        ('name = "phone"', 'name = "mail"', "`mail` stands 2 times"),
        ('when = "fields.meeting"', 'when = "fields.asleep"', "no field `asleep`"),
        ('when = "fields.meeting"', 'when = "fields.meeting ||"', "not a CEL expression"),
        ('holds = "fields.open_window"', 'holds = "model > 1"', "no name `model`"),
        ('adapter = "smtp"', 'adapter = "http"', "`http` does not reach a channel of kind email"),
        ('kind = "in-app"', 'kind = "in-app"\nadapter = "smtp"', "`smtp` does not reach a channel of kind in-app"),
        ('adapter = "smtp"', 'adapter = "smtp"\nretain = true', "has no topics"),
        ('topic = "home/{device}/panel"', 'topic = "home/#"', "is not a topic"),
        ('kind = "in-app"', 'kind = "in-app"\npayload = "text"', "on a placement's own topic"),
        ('title = "Dinner"', "", "needs a title"),
        ('text = "How about {item}?"', "", "has nothing to say"),
        ("{item}?", "{zone}?", "`zone` would leave by `mail`"),
        ("{item}?", "{mood}?", "no field `mood`"),
        ("{item}?", "{item?", "no place of a template"),
        ("{item}?", "{item.real}?", "no place of a template"),
        ('candidate = [', 'channel = "voice"\ncandidate = [', "both say how"),
        ('{ kind = "event", source = "touch" }', '{ kind = "request" }', "a request is answered where it came from"),
        ('holds = "fields.open_window"', 'moment = { model = "moment" }', "no model `moment`"),
        ("candidate = [", "expiry_s = 99999\nno_outcome = 0.0\ncandidate = [", "silence would count while"),
        ('[[theme]]', '[contact]\nzone_field = "meeting"\n[[theme]]', "no text field `meeting`"),
    ],
)  # fmt: skip
def test_what_contradicts_is_named(old: str, new: str, words: str) -> None:
    assert old in CHANNELS
    assert words in said(CHANNELS.replace(old, new, 1))


def test_mail_without_its_egress_is_refused() -> None:
    without = PROFILE.replace('kind = "email"\ndestination = "smtp"', 'kind = "status"\ndestination = "mqtt"')
    loaded = parse_unchecked(without + CHANNELS)
    assert any("no [[egress]] lets messages of `mail` out" in one.what for one in faults(loaded))


def test_a_plain_channel_keeps_its_name_unless_one_is_declared() -> None:
    start = '[[placement]]\nname = "a"\ntrigger = { kind = "request" }\npurposes = ["comfort"]\n'
    plain = start + 'candidate = [{ item = "x" }]\n'
    assert said(plain) == ""
    assert said(plain + 'channel = "voice"\n') == ""
    assert "is a declared channel" in said(plain + 'channel = "phone"\n[[channel]]\nname = "phone"\nkind = "in-app"\n')


def test_lineage_follows_a_field_to_the_channel_and_the_letter() -> None:
    loaded = parse_unchecked(PROFILE + CHANNELS.replace("{item}?", "{item} {zone}?"))
    lineage = derive(loaded)
    assert {"meeting", "open_window"}.isdisjoint(lineage.unused)
    assert any(step.target == "channel panel" for step in why(lineage, "meeting"))
    assert any("email" in step.target for step in why(lineage, "zone"))


@given(st.text(alphabet="ab{} .!é", max_size=30))
def test_any_template_is_rendered_or_refused_by_name(text: str) -> None:
    try:
        found = template.parts(text)
    except ExpressionError:
        return
    assert template.rendered(text, {"a": "{b}", "b": 1.5}).count("{b}") >= sum(name == "a" for _, name in found)
    assert all(name == "" or name.isidentifier() for _, name in found)


@given(st.text(max_size=40))
def test_a_text_whose_braces_are_doubled_says_itself(text: str) -> None:
    assert template.rendered(text.replace("{", "{{").replace("}", "}}"), {}) == text
