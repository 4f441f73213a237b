"""Types of single values."""

from typing import Annotated, Literal

from msgspec import Meta

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,62}$", description="lower-case letters, digits, hyphens")]
Cel = Annotated[str, Meta(min_length=1, max_length=1_000, description="a CEL expression")]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, Meta(gt=0.0)]
Stage = Literal["shadow", "canary", "full"]
