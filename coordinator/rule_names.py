"""Names of the rules in `coordinator/robust.py`, apart from it: a command line needs them without numpy."""

from typing import Literal, get_args

Rule = Literal["median", "trimmed", "krum", "multi-krum", "bulyan", "norm-median"]
RULES: tuple[Rule, ...] = get_args(Rule)
