"""Who is who: which person a subject belongs to. What must be the same across a person's devices asks here."""

from typing import TYPE_CHECKING, ClassVar

from edge_agent.batch import Batch
from edge_agent.happenings import PeopleAsked
from edge_agent.intake.minimise import Minimised

if TYPE_CHECKING:
    from edge_agent.agent import Agent
    from edge_agent.decide.decision import Kin
    from edge_agent.memory.profile import Profile


class People:
    """Persons behind subjects. Without an identity graph each subject is a person of its own."""

    watches: ClassVar[bool] = False
    """Whether events are looked at here at all."""
    merges = False
    """Whether models and rules see a person's whole history, not the subject's own."""

    def person(self, subject: str, now_ms: int) -> str:
        """The person behind a subject at this time, named by the one of the person's subjects that was heard of first.

        Adding a younger subject changes no person's name. When two persons turn out to be one, the older one's name
        stands: for the subjects of the other one, what goes by person (arms, caps) changes then, once.

        Args:
            subject: as events and requests name it.
            now_ms: unix ms; links expire.
        """
        del now_ms
        return subject

    def subjects(self, person: str, now_ms: int) -> tuple[str, ...]:
        """All subjects of a person at this time, as they were heard of one after the other; what was kept under any
        of them counts for the person.

        Args:
            person: its name, or any of its subjects.
        """
        del now_ms
        return (person,)

    def marks(self, subject: str, now_ms: int) -> "tuple[Kin, ...]":
        """What links the subject's person at this time, for the trail of a decision."""
        del subject, now_ms
        return ()

    def view(self, agent: "Agent", subject: str, own: "Profile", now_ms: int) -> "Profile":
        """What models see of a subject: its own profile, or all of its person's as one."""
        del agent, subject, now_ms
        return own

    def observe(self, agent: "Agent", event: Minimised, batch: Batch) -> None:
        """Learn of an event who may be who."""

    def consent_changed(self, subject: str, batch: Batch) -> None:
        """A subject has said something about purposes."""

    def asked(self, asked: PeopleAsked, batch: Batch) -> None:
        """An operator or the household says who is one person, or is not."""

    def restore(self, key: str, value: bytes) -> None:
        """Take up a row of the room `identity` again."""


def people_of(agent: "Agent") -> People:
    """As the profile asks for. The graph's code is loaded only where there is one."""
    if agent.profile.identity is None:
        return People()
    from edge_agent.identity import IdentityGraph

    return IdentityGraph(agent.profile, agent.profile.identity, agent.consents, agent.doors.secret)
