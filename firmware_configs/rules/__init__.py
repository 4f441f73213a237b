"""The auditor's rules: one function each, found by their code."""

from firmware_configs.rules.collection import RULES as COLLECTION
from firmware_configs.rules.conflict import RULES as CONFLICT
from firmware_configs.rules.egress import RULES as EGRESS
from firmware_configs.rules.purpose import RULES as PURPOSE
from firmware_configs.rules.rule import AuditRule, Finding, Level

ALL: tuple[AuditRule, ...] = (*COLLECTION, *PURPOSE, *EGRESS, *CONFLICT)

__all__ = ["ALL", "AuditRule", "Finding", "Level"]
