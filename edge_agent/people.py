"""Who is who: which person a subject belongs to. What must be the same across a person's devices asks here."""


class People:
    """Persons behind subjects. Without an identity graph each subject is a person of its own."""

    def person(self, subject: str, now_ms: int) -> str:
        """The person behind a subject at this time, named by one of the person's subjects.

        Args:
            subject: as events and requests name it.
            now_ms: unix ms; links expire.
        """
        del now_ms
        return subject

    def subjects(self, person: str, now_ms: int) -> tuple[str, ...]:
        """All subjects of a person at this time; what was kept under any of them counts for the person."""
        del now_ms
        return (person,)
