"""Households that never were, with labels: who uses which device when, and over which network.

A seed makes one: two to five people with rhythms that overlap, phones, laptops, tablets and watches of their own, work
laptops that are mostly elsewhere, a television and often a tablet that everybody uses, guests who come for a day. It is
made to be hard in the ways that we know of; it is no measurement of real homes, and nothing here was fitted to any.
"""

from dataclasses import dataclass, field
from random import Random

START_MS = 1_800_000_000_000 - 1_800_000_000_000 % 86_400_000
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
ITEMS = [f"i{n}" for n in range(24)]
ROOMS = ["living", "kitchen", "bath"]
CELL = "cell"
"""The phone company's network: the same for everybody who is under way."""


@dataclass(frozen=True)
class Event:
    """What a device reports."""

    t_ms: int
    subject: str
    fields: dict[str, str]


@dataclass
class Human:
    """A person: rhythm, taste, devices."""

    name: str
    wakes: float
    sleeps: float
    works: bool
    office: str
    account: str
    taste: list[float]
    own: dict[str, str] = field(default_factory=dict)
    """Kind → device."""
    logged_in: set[str] = field(default_factory=set)
    busy_ms: int = 0
    """Until when the person is at a device."""


@dataclass
class Household:
    """Events in the order of their times, and the truth."""

    events: list[Event]
    owner: dict[str, str]
    """Device → whose it is; a shared one is its own."""


def household(seed: int, days: int = 28) -> Household:
    """The household of a seed."""
    return _Maker(seed).make(days)


class _Maker:
    def __init__(self, seed: int) -> None:
        self.prng = Random(seed)  # noqa: S311 - it makes data, it keeps no secret
        self.events: list[Event] = []
        self.owner: dict[str, str] = {}
        self.people = [self._human(f"p{n}") for n in range(self.prng.randint(2, 5))]
        for one in self.people[1:]:
            if self.prng.random() < 0.15:
                one.office = self.people[0].office
        self.uses = {
            kind: [self.prng.gammavariate(0.5, 1.0) for _ in ITEMS]
            for kind in ("phone", "laptop", "tablet", "watch", "work", "tv")
        }
        """What a kind of device is used for, whoever has it."""
        self.shared = ["tv"] + (["family-tablet"] if self.prng.random() < 0.6 else [])
        self.owner.update({device: device for device in self.shared})
        self.tv_accounts = self.prng.random() < 0.5

    def _human(self, name: str) -> Human:
        chance = self.prng.random
        taste = [self.prng.gammavariate(0.25, 1.0) for _ in ITEMS]
        one = Human(
            name=name,
            wakes=self.prng.uniform(5.5, 9.0),
            sleeps=self.prng.uniform(21.5, 24.5),
            works=chance() < 0.7,
            office=f"office-{name}",
            account=f"account-{name}",
            taste=taste,
        )
        for kind, share in (("phone", 1.0), ("laptop", 0.7), ("tablet", 0.4), ("watch", 0.35)):
            if chance() < share:
                one.own[kind] = f"{name}-{kind}"
        if one.works and chance() < 0.6:
            one.own["work"] = f"{name}-work"
        login = {"phone": 0.8, "laptop": 0.5, "tablet": 0.4, "work": 0.1, "watch": 0.0}
        one.logged_in = {device for kind, device in one.own.items() if chance() < login[kind]}
        self.owner.update(dict.fromkeys(one.own.values(), name))
        return one

    def make(self, days: int) -> Household:
        for day in range(days):
            for one in self.people:
                self._day(one, day)
            if self.prng.random() < 0.12:
                self._guest(day)
        self.events.sort(key=lambda event: (event.t_ms, event.subject))
        return Household(self.events, self.owner)

    def _day(self, one: Human, day: int) -> None:
        start = START_MS + day * DAY_MS
        away = one.works and day % 7 < 5 and self.prng.random() < 0.85
        leaves, returns = 9.0 + self.prng.gauss(0, 0.5), 17.0 + self.prng.gauss(0, 1.0)
        hour = one.wakes + abs(self.prng.gauss(0, 0.4))
        one.busy_ms = 0
        while hour < one.sleeps:
            at_office = away and leaves + 0.5 < hour < returns - 0.5
            under_way = away and not at_office and leaves < hour < returns
            self._sit(one, start + int(hour * HOUR_MS), at_office=at_office, under_way=under_way)
            evening = 17.0 <= hour % 24 <= 23.0
            hour += self.prng.expovariate(1.3 if evening and not away else 0.8)

    def _sit(self, one: Human, t_ms: int, *, at_office: bool, under_way: bool) -> None:
        """Some time with devices, often one after the other."""
        network = one.office if at_office else CELL if under_way else "home"
        room = "" if at_office or under_way else self.prng.choice([*ROOMS, f"room-{one.name}", f"room-{one.name}"])
        t_ms = max(t_ms, one.busy_ms)
        device = self._device(one, at_office=at_office, under_way=under_way)
        while device:
            if device in self.shared and self.prng.random() < 0.4:  # a phone in the hand before the television
                self._session(one, one.own["phone"], t_ms + int(self.prng.uniform(5, 60) * 1_000), network, room)
            phone_off_wifi = device.endswith("phone") and self.prng.random() < 0.15
            t_ms = self._session(one, device, t_ms, CELL if phone_off_wifi else network, room)
            other = self._device(one, at_office=at_office, under_way=under_way)
            device = other if other != device and self.prng.random() < 0.35 else ""
            t_ms += int(self.prng.uniform(5, 90) * 1_000)
        one.busy_ms = t_ms

    def _device(self, one: Human, *, at_office: bool, under_way: bool) -> str:
        own = one.own
        if under_way:
            return own["phone"]
        if at_office:
            return own["work"] if "work" in own and self.prng.random() < 0.65 else own["phone"]
        weights = {"phone": 5.0, "laptop": 2.5, "tablet": 2.0, "watch": 0.8, "work": 0.3}
        kinds = list(own)
        devices = [own[kind] for kind in kinds] + self.shared
        return self.prng.choices(devices, [*(weights[kind] for kind in kinds), *(1.2 for _ in self.shared)])[0]

    def _session(self, one: Human, device: str, t_ms: int, network: str, room: str) -> int:
        """Events of one person on one device; returns when the last one was."""
        shared = device in self.shared
        uses = self.uses[device.rsplit("-", 1)[-1]]
        weights = [(taste + 0.02) * (use + 0.02) for taste, use in zip(one.taste, uses, strict=True)]
        for n in range(1 + min(12, int(self.prng.expovariate(0.25)))):
            fields = {"item": self.prng.choices(ITEMS, weights)[0], "network": network}
            if room and self.prng.random() < 0.5:
                fields["room"] = room
            logs_in = self.tv_accounts if shared else device in one.logged_in
            if n == 0 and logs_in and self.prng.random() < 0.25:
                fields["account"] = one.account
            if device.endswith("watch") and n == 0 and self.prng.random() < 0.1:
                fields["peer"] = one.own["phone"]
            self.events.append(Event(t_ms, device, fields))
            t_ms += int(self.prng.uniform(4, 90) * 1_000)
        return t_ms

    def _guest(self, day: int) -> None:
        """Somebody with a phone who is here for some hours, over our network."""
        guest = f"guest-{self.prng.randrange(4)}"
        self.owner.setdefault(f"{guest}-phone", guest)
        taste = [self.prng.gammavariate(0.25, 1.0) for _ in ITEMS]
        one = Human(guest, 0, 0, False, "", "", taste, {"phone": f"{guest}-phone"})
        hour = self.prng.uniform(12, 18)
        for _ in range(self.prng.randint(2, 6)):
            room = self.prng.choice(ROOMS)
            self._session(one, one.own["phone"], START_MS + day * DAY_MS + int(hour * HOUR_MS), "home", room)
            hour += self.prng.expovariate(1.5)
