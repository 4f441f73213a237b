"""What the signed registry holds, by name: the coordinator publishes under these names, devices ask for them.

| kind | path | role that signs it |
|---|---|---|
| bundle | `bundles/NAME-VERSION.edgeward` | `bundle-NAME` |
| attestation of a bundle | `attestations/NAME-VERSION.intoto.json` | `bundle-NAME` |
| profile | `profiles/FLEET/NAME-VERSION.toml` | `fleet-FLEET` |
| experiments | `experiments/FLEET/NAME-VERSION.toml` | `fleet-FLEET` |
| profile that widens collection | `approved/FLEET/NAME-VERSION.toml` | `approved-FLEET`: a threshold of approvers |
"""

from typing import Literal

Kind = Literal["bundle", "profile", "experiment"]

BUNDLE = ".edgeward"
ATTESTATION = ".intoto.json"
DOCUMENT = ".toml"


def bundle(name: str, version: str) -> str:
    """The path of a bundle."""
    return f"bundles/{name}-{version}{BUNDLE}"


def attestation(name: str, version: str) -> str:
    """The path of what is attested of a bundle."""
    return f"attestations/{name}-{version}{ATTESTATION}"


def document(kind: Literal["profile", "experiment"], fleet: str, name: str, version: str) -> str:
    """The path of a fleet's profile or of its experiments."""
    return f"{kind}s/{fleet}/{name}-{version}{DOCUMENT}"


def approved(fleet: str, name: str, version: str) -> str:
    """The path of a profile that more people than one must have signed."""
    return f"approved/{fleet}/{name}-{version}{DOCUMENT}"


def role_of_bundle(name: str) -> str:
    """The role that signs a bundle's versions."""
    return f"bundle-{name}"


def role_of_fleet(fleet: str) -> str:
    """The role that signs a fleet's profiles and experiments."""
    return f"fleet-{fleet}"


def role_of_approvers(fleet: str) -> str:
    """The role that signs a fleet's profiles that widen what is collected."""
    return f"approved-{fleet}"


def patterns(role: str) -> list[str]:
    """The paths that a role may sign, as TUF writes them; `*` does not pass a `/`.

    A version begins with a digit, so `context` may not sign for `context-kitchen`. It matches `context-2-1.0.0`, which
    is why longer names are asked first (`order`).

    Raises:
        ValueError: it is none of the roles above.
    """
    kind, _, name = role.partition("-")
    match kind:
        case "bundle" if name:
            return [f"bundles/{name}-[0-9]*{BUNDLE}", f"attestations/{name}-[0-9]*{ATTESTATION}"]
        case "fleet" if name:
            return [f"profiles/{name}/*{DOCUMENT}", f"experiments/{name}/*{DOCUMENT}"]
        case "approved" if name:
            return [f"approved/{name}/*{DOCUMENT}"]
    raise ValueError(f"`{role}` is no role of a registry")


def order(role: str) -> tuple[int, str]:
    """Sorts roles so that the more special one is asked first."""
    return (-len(role), role)
