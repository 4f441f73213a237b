"""Findings as JUnit XML, which continuous integration shows as tests: one test a profile and rule that speaks."""

from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from firmware_configs.rules import Finding


def document(findings: Sequence[Finding], profiles: Sequence[str]) -> str:
    """A test suite a profile; errors and warnings are failures, notes and waived findings are told as skipped."""
    suites = Xml.Element("testsuites", name="edge-audit")
    for path in profiles:
        own = [finding for finding in findings if finding.path == path]
        failed = [finding for finding in own if finding.level != "note" and not finding.waived]
        suite = Xml.SubElement(
            suites,
            "testsuite",
            name=_plain(path),
            tests=str(max(1, len(own))),
            failures=str(len(failed)),
            skipped=str(len(own) - len(failed)),
        )
        if not own:
            Xml.SubElement(suite, "testcase", classname=_plain(path), name="all rules")
        for finding in own:
            _case(suite, finding)
    Xml.indent(suites)
    return Xml.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: Xml.Element, finding: Finding) -> None:
    name = f"{finding.code} {finding.where}".strip()
    case = Xml.SubElement(suite, "testcase", classname=_plain(finding.path), name=_plain(name))
    if finding.waived:
        Xml.SubElement(case, "skipped", message=_plain(f"{finding.what}; waived: {finding.waived}"))
    elif finding.level == "note":
        Xml.SubElement(case, "skipped", message=_plain(finding.what))
    else:
        told = Xml.SubElement(case, "failure", type=finding.level, message=_plain(finding.what))
        told.text = _plain(f"{finding.path}:{finding.line} {finding.where}\nfix: {finding.fix}")


def _plain(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(c for c in text if c in "\t\n" or c.isprintable())
