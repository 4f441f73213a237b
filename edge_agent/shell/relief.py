"""Which of the messages that came are stepped with: all of them, or under pressure what the profile's rules keep."""

from edge_agent.agent import Agent
from edge_agent.happenings import Message
from edge_agent.intake.pressure import Arrival, Pressure, Rule
from edge_agent.settings import Settings
from edge_agent.shell.line import Arrived
from firmware_configs.loader import Loaded


class Relief:
    """Pressure as the profile's sources want it, on an agent that counts what is shed."""

    def __init__(self, settings: Settings, loaded: Loaded, agent: Agent) -> None:
        rules = {s.name: Rule(s.overload, s.overload_every, s.critical) for s in loaded.profile.source}
        self._pressure = Pressure(rules, min(settings.batch_max, settings.broker.receive_maximum))
        self._agent = agent

    def kept(self, arrived: list[Arrived]) -> list[Message]:
        """Of what a turn brought; what is left out is acknowledged all the same."""
        self._pressure.observe(len(arrived))
        messages = [one.message for one in arrived]
        if not self._pressure.high:
            return messages
        routes = [self._agent.topics.route(message.topic) for message in messages]
        batch = [
            Arrival(route.name if route is not None and route.door == "event" else "", message.topic)
            for route, message in zip(routes, messages, strict=True)
        ]
        places, shed = self._pressure.relieve(batch)
        for source, count in shed.items():
            self._agent.count(f"shed.{source}", count)
        return [messages[place] for place in places]
