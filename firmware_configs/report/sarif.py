"""Findings as SARIF 2.1.0 (OASIS), which code hosts show beside the lines."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from firmware_configs.rules import ALL, AuditRule, Finding

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def document(findings: Sequence[Finding], version: str) -> dict[str, Any]:
    """One run of the auditor.

    Args:
        version: of this package.
    """
    rules = {rule.code: rule for rule in ALL}
    codes = sorted({*rules, *(finding.code for finding in findings)})
    driver = {
        "name": "edge-audit",
        "version": version,
        "informationUri": "https://pypi.org/project/edgeward/",
        "rules": [_rule(code, rules.get(code)) for code in codes],
    }
    results = [_result(finding, codes.index(finding.code)) for finding in findings]
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _rule(code: str, rule: AuditRule | None) -> dict[str, Any]:
    if rule is None:
        return {"id": code}
    told: dict[str, Any] = {
        "id": code,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "defaultConfiguration": {"level": rule.level},
    }
    if rule.law:
        told["properties"] = {"law": rule.law}
    return told


def _result(finding: Finding, index: int) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": PurePath(finding.path).as_posix()}}
    if finding.line:
        place["region"] = {"startLine": finding.line}
    location: dict[str, Any] = {"physicalLocation": place}
    if finding.where:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.where}]
    told: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": finding.level,
        "message": {"text": f"{finding.what}. Fix: {finding.fix}"},
        "locations": [location],
        "partialFingerprints": {"place/v1": f"{finding.code}:{PurePath(finding.path).name}:{finding.where}"},
    }
    if finding.waived:
        told["suppressions"] = [{"kind": "external", "justification": finding.waived}]
    return told
