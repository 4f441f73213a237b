"""card.md: what a person should know before trusting a model (after Mitchell et al. 2019, "Model Cards")."""

from msgspec import Struct

from models.spec import Spec


class Figure(Struct, frozen=True, kw_only=True):
    """One measured number; rates are fractions, losses are nats."""

    name: str
    value: float
    note: str = ""


class Card(Struct, frozen=True, kw_only=True):
    """What the builder knows and the spec does not say."""

    data: str
    protocol: str
    figures: tuple[Figure, ...]
    intended_use: str
    limits: str


def render_card(card: Card, spec: Spec, seed: int, command: str) -> bytes:
    """The card as Markdown, UTF-8.

    Args:
        card: what the builder says.
        spec: the bundle's spec, for its name, licence and parameters.
        seed: of everything random in the build.
        command: what makes this bundle again.
    """
    shared, personal = (", ".join(p.name for p in spec.of_share(share)) for share in ("shared", "personal"))
    figures = "\n".join(f"| {f.name} | {f.value:.5f} | {f.note} |" for f in card.figures)
    return f"""# {spec.name} {spec.version}

{spec.summary}.

- Licence of the weights: {spec.licence}
- Shared parameters (averaged by rounds): {shared}
- Personal parameters (never leave the device): {personal or "none"}
- Made by `{command}`, seed {seed}

## Data

{card.data}

## Protocol

{card.protocol}

## Figures

| measure | value | note |
|---|--:|---|
{figures}

## Intended use

{card.intended_use}

## Limits

{card.limits}
""".encode()
