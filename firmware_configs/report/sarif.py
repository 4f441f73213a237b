"""Findings as SARIF 2.1.0 (OASIS), which code hosts show beside the lines."""

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, Final

from firmware_configs.rules import ALL, AuditRule, Finding
from firmware_configs.rules.besides import BESIDES, EXAMPLES
from firmware_configs.rules.examples import of

PROJECT: Final = "https://pypi.org/project/edgeward/"
LAW: Final = "http://data.europa.eu/eli/reg/2016/679"
"""The GDPR by its European Legislation Identifier; an article of it is at `/art_5/oj`."""
_PART = re.compile(r"GDPR (?P<kind>Art\.|Recital) (?P<number>\d+)")
SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def document(findings: Sequence[Finding], version: str) -> dict[str, Any]:
    """One run of the auditor.

    Args:
        version: of this package.
    """
    rules = {rule.code: rule for rule in (*ALL, *BESIDES)}
    codes = sorted({*rules, *(finding.code for finding in findings)})
    driver = {
        "name": "edge-audit",
        "version": version,
        "informationUri": PROJECT,
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
        "help": _help(rule),
        "helpUri": _law_uri(rule.law),
        "defaultConfiguration": {"level": rule.level},
    }
    if rule.law:
        told["properties"] = {"law": rule.law}
    return told


def _help(rule: AuditRule) -> dict[str, str]:
    """What a code host shows beside a finding: why, the law, and how the mistake looks, broken and mended."""
    example = EXAMPLES.get(rule.code) or of(rule.code)
    law = f" See {rule.law}." if rule.law else ""
    failing, passing = example.failing.strip(), example.passing.strip()
    return {
        "text": f"{rule.why}{law}\n\nThis breaks it:\n\n{failing}\n\nThis does not:\n\n{passing}\n",
        "markdown": f"{rule.why}{law}\n\nThis breaks it:\n\n```toml\n{failing}\n```\n\nThis does not:\n\n"
        f"```toml\n{passing}\n```\n",
    }


def _law_uri(law: str) -> str:
    """Where the article can be read; of a rule without one, the project."""
    part = _PART.search(law)
    if part is None:
        return PROJECT
    return f"{LAW}/{'art' if part['kind'] == 'Art.' else 'rct'}_{part['number']}/oj"


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
