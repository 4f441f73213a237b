"""Requests and answers, with MQTT 5's help and without."""

from pathlib import Path

import msgspec

from firmware_configs.messages import JSON, DecisionMade, Topics
from tests.conformance.brokers import Place
from tests.conformance.device import device, drive, profile, url, write
from tests.conformance.peer import peer
from tests.conformance.table import runs


@runs("request")
def test_a_request_is_answered_on_its_response_topic(place: Place, version: str, name: str, folder: Path) -> None:
    file = write(folder, url(place, "plain", version), name, profile(), protocol=version)
    with device(file) as one, peer(place.port("plain", version), f"p-{name}", version) as p:
        p.listen(f"answers/{name}")
        ask = Topics(name).of("request", "ask")
        p.say(ask, {}, ResponseTopic=f"answers/{name}", CorrelationData=b"\x00\xff7", ContentType=JSON)
        assert drive(one, until=lambda: p.heard), (one.loop.agent.counters, one.said)
        assert vars(p.heard[0].properties)["CorrelationData"] == b"\x00\xff7"
        assert msgspec.msgpack.decode(p.heard[0].payload, type=DecisionMade).items == ("yes",)


@runs("reply")
def test_a_request_that_names_its_reply_topic_is_answered_there_in_its_own_format(
    place: Place, version: str, name: str, folder: Path
) -> None:
    file = write(folder, url(place, "plain", version), name, profile(), protocol=version)
    with device(file) as one, peer(place.port("plain", version), f"p-{name}", version) as p:
        p.listen(f"answers/{name}/+")
        ask = Topics(name).of("request", "ask")
        p.say(ask, {"reply_to": f"answers/{name}/json", "correlation": "7"})
        p.say(ask, msgspec.msgpack.encode({"reply_to": f"answers/{name}/pack", "correlation": "8"}))
        assert drive(one, until=lambda: len(p.heard) >= 2), (one.loop.agent.counters, one.said)
        heard = {message.topic.rsplit("/", 1)[1]: message.payload for message in p.heard}
        assert msgspec.json.decode(heard["json"], type=DecisionMade).correlation == "7"
        assert msgspec.msgpack.decode(heard["pack"], type=DecisionMade).correlation == "8"


@runs("reply")
def test_a_reply_topic_that_nobody_could_publish_to_is_refused_and_the_agent_goes_on(
    place: Place, version: str, name: str, folder: Path
) -> None:
    file = write(folder, url(place, "plain", version), name, profile(), protocol=version)
    with device(file) as one, peer(place.port("plain", version), f"p-{name}", version) as p:
        p.listen(f"answers/{name}")
        ask = Topics(name).of("request", "ask")
        for wrong in ("answers/+", "answers/#", "null\x00", "x" * 70_000):
            p.say(ask, {"reply_to": wrong})
        p.say(ask, {"reply_to": f"answers/{name}"})
        assert drive(one, until=lambda: p.heard), (one.loop.agent.counters, one.said)
        assert one.count("rejected.AGT207") == 4
        assert one.complaint("AGT207", "reply topic")
