"""Data categories by name: what they are called, which of them the law protects most, and which name was meant.

Source: the Fides taxonomy, fideslang 3.1.4 (Ethyca; the taxonomy is CC BY 4.0), and names of its first version that
were replaced since. A name below one of these (`user.sensor.temperature`) is known, too. Names of the W3C Data Privacy
Vocabulary are known by their prefix (`pd:Health`).
"""

import difflib
import re
from typing import Final

FIDES: Final = frozenset(
    {
        "system.authentication",
        "system.operations",
        "user.account",
        "user.account.settings",
        "user.account.username",
        "user.authorization",
        "user.authorization.biometric",
        "user.authorization.credentials",
        "user.authorization.password",
        "user.behavior",
        "user.behavior.browsing_history",
        "user.behavior.media_consumption",
        "user.behavior.purchase_history",
        "user.behavior.search_history",
        "user.biometric",
        "user.biometric.fingerprint",
        "user.biometric.health",
        "user.biometric.retinal",
        "user.biometric.voice",
        "user.childrens",
        "user.contact",
        "user.contact.address",
        "user.contact.address.city",
        "user.contact.address.country",
        "user.contact.address.postal_code",
        "user.contact.address.state",
        "user.contact.address.street",
        "user.contact.email",
        "user.contact.fax_number",
        "user.contact.organization",
        "user.contact.phone_number",
        "user.contact.url",
        "user.content",
        "user.content.private",
        "user.content.public",
        "user.content.self_image",
        "user.criminal_history",
        "user.demographic",
        "user.demographic.age_range",
        "user.demographic.date_of_birth",
        "user.demographic.gender",
        "user.demographic.language",
        "user.demographic.marital_status",
        "user.demographic.political_opinion",
        "user.demographic.profile",
        "user.demographic.race_ethnicity",
        "user.demographic.religious_belief",
        "user.demographic.sexual_orientation",
        "user.device",
        "user.device.cookie",
        "user.device.cookie_id",
        "user.device.device_id",
        "user.device.ip_address",
        "user.financial",
        "user.financial.bank_account",
        "user.financial.credit_card",
        "user.government_id",
        "user.government_id.birth_certificate",
        "user.government_id.drivers_license_number",
        "user.government_id.immigration",
        "user.government_id.national_identification_number",
        "user.government_id.passport_number",
        "user.government_id.vehicle_registration",
        "user.health_and_medical",
        "user.health_and_medical.genetic",
        "user.health_and_medical.insurance_beneficiary_id",
        "user.health_and_medical.record_id",
        "user.job_title",
        "user.location",
        "user.location.imprecise",
        "user.location.precise",
        "user.name",
        "user.name.first",
        "user.name.last",
        "user.payment",
        "user.privacy_preferences",
        "user.sensor",
        "user.social",
        "user.telemetry",
        "user.unique_id",
        "user.unique_id.pseudonymous",
        "user.user_sensor",
        "user.workplace",
    }
)
EARLIER: Final = frozenset(
    {
        "user.browsing_history",
        "user.date_of_birth",
        "user.gender",
        "user.genetic",
        "user.media_consumption",
        "user.political_opinion",
        "user.race",
        "user.religious_belief",
        "user.search_history",
        "user.sexual_orientation",
    }
)
SENSITIVE: Final = (
    "user.health",
    "user.biometric",
    "user.authorization.biometric",
    "user.political",
    "user.demographic.political",
    "user.religio",
    "user.demographic.religio",
    "user.sexual",
    "user.demographic.sexual",
    "user.children",
    "user.race",
    "user.ethnic",
    "user.demographic.race",
    "user.genetic",
    "user.criminal",
    "user.union",
)
"""Prefixes of categories that the law protects most: Art. 9 and 10 GDPR, and children."""
SENSITIVE_IN_DPV: Final = frozenset(
    {"health", "medical", "biometric", "genetic", "political", "religion", "religious", "belief", "sexual", "race"}
    | {"ethnicity", "ethnic", "racial", "union", "criminal", "child", "children", "disability"}
)
_DPV = re.compile(r"(dpv-pd|dpv|pd|eu-gdpr):(?P<name>[A-Z]\w*)")


def is_known(name: str) -> bool:
    """Whether it is a category's name, or below one."""
    known = FIDES | EARLIER
    steps = name.split(".")
    return _DPV.fullmatch(name) is not None or any(".".join(steps[:n]) in known for n in range(1, len(steps) + 1))


def is_sensitive(name: str) -> bool:
    """Whether a category is one that the law protects most."""
    dpv = _DPV.fullmatch(name)
    if dpv is not None:
        words = {word.lower() for word in re.findall(r"[A-Z][a-z]*|[a-z]+", dpv["name"])}
        return bool(words & SENSITIVE_IN_DPV)
    return name.startswith(SENSITIVE)


def nearest(name: str) -> str:
    """The category that was probably meant; empty: none is near."""
    return next(iter(difflib.get_close_matches(name, sorted(FIDES | EARLIER), n=1, cutoff=0.75)), "")
