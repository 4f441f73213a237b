"""The auditor's rules: one function each, found by their code. Examples of each lie in `examples/`."""

from firmware_configs.rules.acting import RULES as ACTING
from firmware_configs.rules.collection import RULES as COLLECTION
from firmware_configs.rules.computing import RULES as COMPUTING
from firmware_configs.rules.conflict import RULES as CONFLICT
from firmware_configs.rules.egress import RULES as EGRESS
from firmware_configs.rules.limitation import RULES as LIMITATION
from firmware_configs.rules.naming import RULES as NAMING
from firmware_configs.rules.promise import RULES as PROMISE
from firmware_configs.rules.purpose import RULES as PURPOSE
from firmware_configs.rules.rule import AuditRule, Case, Finding, Level

ALL: tuple[AuditRule, ...] = (
    *COLLECTION,
    *NAMING,
    *PURPOSE,
    *LIMITATION,
    *EGRESS,
    *CONFLICT,
    *ACTING,
    *COMPUTING,
    *PROMISE,
)

__all__ = ["ALL", "AuditRule", "Case", "Finding", "Level"]
