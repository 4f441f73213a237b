"""A home whose people click by known rates on three offers, under a policy that explores: a log with a known truth."""

import msgspec
import numpy as np

from edge_agent.decide import decision
from edge_agent.decide.decision import Trail
from edge_agent.learn import earned
from edge_agent.learn.earned import Earned
from firmware_configs.messages import MSGPACK, Feedback, Topics
from tests.edge_agent.house import DEVICE, HOME, NOW, House

RATES = {"tea": 0.5, "milk": 0.2, "juice": 0.1}
SCORES = {"tea": 0.2, "milk": 0.6, "juice": 0.4}
CANDIDATES = "".join(
    f'[[placement.candidate]]\nitem = "{item}"\nscore = "{score}"\n\n' for item, score in SCORES.items()
)
PLACE = "next-pick"


def written(policy: str, model: str = "") -> str:
    """The home's profile with three offers under this policy; with a model, its features are served."""
    text = HOME.replace('policy = { kind = "epsilon-greedy", epsilon = 0.1 }', f"policy = {policy}", 1)
    first, rest = text.split(f'name = "{PLACE}"', 1)
    rest = rest.replace('models = ["affinity"]\n', f'models = ["{model}"]\n' if model else "", 1)
    rule = rest.index("[[placement.rule]]")
    end = rest.index("[[placement]]")
    return first + f'name = "{PLACE}"' + rest[:rule] + CANDIDATES + rest[end:]


def lived(
    policy: str,
    count: int,
    seed: int,
    start_ms: int = NOW,
    *,
    model: str = "",
    silent: bool = False,
    window_s: int = 86_400,
) -> House:
    """`count` decisions, each answered a second later: a click by its item's rate, or else a dismissal, or silence."""
    text = written(policy, model).replace("reward_window_s = 86400.0", f"reward_window_s = {window_s}.0")
    house = House(text)
    house.now = start_ms
    house.everyone_agrees()
    dice = np.random.default_rng(seed)
    for number in range(count):
        house.now += 60_000
        if model:
            house.tell(house.reading(number, light=100.0 + 13.0 * (number % 50)))
        house.tell(house.pick(number))
        made = house.decisions()[-1]
        clicked = dice.random() < RATES[made.items[0]]
        if clicked or not silent:
            house.now += 1_000
            outcome = "click" if clicked else "dismiss"
            word = msgspec.msgpack.encode(Feedback(decision_id=made.id, outcome=outcome))
            house.tell(house.message(Topics(DEVICE).of("feedback"), word, content_type=MSGPACK))
    return house


def trails(house: House) -> list[Trail]:
    rows = [a for a in house.shelves.values() if a.shelf == "decision" and a.group == PLACE]
    return [decision.unpack(row.value) for row in rows]


def outcomes(house: House) -> dict[str, list[Earned]]:
    found: dict[str, list[Earned]] = {}
    for row in house.shelves.values():
        if row.shelf == "outcome":
            one = earned.unpack(row.value)
            found.setdefault(one.decision, []).append(one)
    return found
