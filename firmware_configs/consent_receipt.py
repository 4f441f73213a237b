"""A consent record and receipt, with the fields of ISO/IEC TS 27560:2023, made from a profile. JSON, no I/O.

A reader who needs another shape finds everything under the standard's names. What a profile cannot know (a
jurisdiction, a certificate of the person's identity) is left out, not made up.
"""

import hashlib
from typing import Any, Literal

from firmware_configs.profile import Profile

SCHEMA = "ISO/IEC TS 27560:2023"
VERSION_HEX = 12
State = Literal["given", "refused", "withdrawn", "objected", "objection-withdrawn"]


def version_of(text: str) -> str:
    """The version of a purpose's text: 12 hex digits of its SHA-256. Other words are another version."""
    return hashlib.sha256(text.encode()).hexdigest()[:VERSION_HEX]


def receipt(
    profile: Profile, device: str, subject: str, purpose: str, state: State, version: str, time_ms: int
) -> dict[str, Any]:
    """One event about one purpose, as a record that the person can keep.

    Args:
        purpose: name of one of the profile's.
        version: of the text that the person read.
        time_ms: unix ms.
    """
    declared = next(one for one in profile.purpose if one.name == purpose)
    fields = [field for source in profile.source for field in source.field if purpose in field.purposes]
    words = f"{device}\x00{subject}\x00{purpose}\x00{state}\x00{time_ms}"
    return {
        "header": {
            "schema_version": SCHEMA,
            "record_id": hashlib.sha256(words.encode()).hexdigest()[:32],
            "pii_principal_id": subject,
        },
        "pii_processing": {
            "privacy_notice": {"profile": profile.name, "version": profile.version, "text_version": version},
            "language": "en",
            "purposes": [
                {
                    "purpose": purpose,
                    "purpose_type": "shares" if declared.shares else "own",
                    "purpose_description": declared.text,
                    "lawful_basis": declared.legal_basis,
                    "pii_information": [
                        {"pii_type": field.category, "pii_attribute_id": field.name, "pii_optional": not field.required}
                        for field in fields
                    ],
                    "pii_controllers": [profile.controller.name] if profile.controller.name else [],
                    "collection_method": "events of this home, over MQTT",
                    "processing_method": "on the device",
                    "storage_locations": [device],
                    "retention_period": {
                        category: f"{profile.retention[category].days:g} days"
                        for category in sorted({field.category for field in fields})
                    },
                    "pii_recipients": sorted(
                        {egress.destination for egress in profile.egress if purpose in egress.purposes}
                    ),
                    "withdrawal_method": f"edge-agent consent withdraw {subject} {purpose}",
                    "privacy_rights": [
                        f"edge-agent subject {what} {subject}" for what in ("show", "export", "rectify", "erase")
                    ],
                }
            ],
        },
        "party_identification": [
            {
                "party_id": profile.controller.name,
                "party_type": "pii_controller",
                "party_contact": profile.controller.contact,
            }
        ],
        "event": {
            "event_time_ms": time_ms,
            "event_type": "explicit",
            "event_state": state,
            "entity_id": device,
        },
    }
