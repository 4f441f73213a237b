"""Words that names and paths of fields are made of, and what they give away."""

import itertools
import re
from collections.abc import Set as AbstractSet

PLACE = frozenset({"latitude", "longitude", "lat", "lon", "lng", "gps", "position", "coordinates", "geo"})
IDENTIFIER = frozenset(
    {"email", "mail", "phone", "msisdn", "mac", "imei", "imsi", "serial", "address", "ip", "ssid", "bssid", "passport"}
)
OWN_NAME = frozenset({"name", "firstname", "lastname", "surname", "username", "nickname"})
AGE = frozenset({"age", "birth", "birthday", "birthdate", "dob", "born"})
TIME = frozenset({"time", "timestamp", "date", "datetime", "moment", "clock"})
FREE_TEXT = frozenset({"message", "comment", "transcript", "utterance", "note", "notes", "prompt", "chat", "question"})
RECORDING = frozenset(
    {"audio", "video", "image", "photo", "picture", "frame", "recording", "voiceprint", "face", "waveform", "snapshot"}
)
CARRIES_OUT = frozenset({"send", "sends", "sent", "share", "shares", "leave", "leaves", "tell", "tells", "upload"})
CARRIES_OUT_MORE = frozenset({"transmit", "transmits", "mail", "mails", "email", "emails", "message", "messages"})
SELLING = frozenset(
    {"advertising", "advertise", "ads", "marketing", "profiling", "resale", "sell", "selling", "broker"}
)
DANGEROUS = frozenset(
    {"door", "lock", "gate", "garage", "oven", "stove", "heater", "heating", "boiler", "gas", "valve", "pump", "motor"}
)
DANGEROUS_MORE = frozenset({"alarm", "siren", "elevator", "lift", "charger", "breaker", "sprinkler", "dose", "window"})
STABLE = frozenset({"iban", "gaid", "idfa", "aaid", "maid", "idfv", "oaid", "imei", "imsi", "msisdn", "ssn", "vin"})
STABLE_PAIRS = frozenset(
    {
        *((whose, "id") for whose in ("device", "advertising", "ad", "android", "user", "customer", "client")),
        *((whose, "id") for whose in ("member", "person", "account", "cookie", "tax")),
        *(("account", "number"), ("card", "number"), ("social", "security"), ("loyalty", "card")),
    }
)
"""Numbers that stay with a person or a device wherever they go, whatever type they are sent as."""
HEALTH = frozenset({"medical", "diagnosis", "disease", "illness", "symptom", "symptoms", "medication", "medicine"})
HEALTH_MORE = frozenset({"pregnant", "pregnancy", "insulin", "glucose", "spo2", "ecg", "ekg", "bmi", "allergy"})
HEALTH_YET_MORE = frozenset({"allergies", "disability", "blood", "heartbeat", "heartrate", "hrv", "menstrual"})
HEALTH_PAIRS = frozenset({("heart", "rate"), ("pulse", "rate"), ("body", "weight"), ("sleep", "apnea")})
"""`health` alone is none of them: batteries have it."""
BELIEF = frozenset({"religion", "religious", "political", "politics", "ideology"})
ORIGIN = frozenset({"ethnicity", "ethnic", "racial", "sexuality", "sexual"})
BODY = frozenset({"biometric", "fingerprint", "faceprint", "retina", "voiceprint", "dna", "genetic", "genome"})
CRIME = frozenset({"criminal", "conviction", "convictions"})
MONEY = frozenset({"income", "salary", "wage", "wages", "debt", "loan", "mortgage", "iban"})


def of(text: str) -> set[str]:
    """The words of a name or dotted path, in lower case: `state.lastSeen_at` → state, last, seen, at."""
    return set(in_order(text))


def in_order(text: str) -> list[str]:
    """The words of a name or dotted path in their order, as `of` splits them."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)
    return [word for word in re.split(r"[^a-z0-9]+", split.lower()) if word]


def told_by(text: str, alone: AbstractSet[str], pairs: AbstractSet[tuple[str, str]]) -> str:
    """The first word, or two words side by side, of a name that are among these; empty: none is."""
    found = in_order(text)
    pair = next((f"{one} {other}" for one, other in itertools.pairwise(found) if (one, other) in pairs), "")
    return pair or next((word for word in found if word in alone), "")


def says_that_something_leaves(text: str) -> bool:
    """Whether an English text has a sentence that says so, and does not deny it."""
    for sentence in re.split(r"[.!?]", text.lower()):
        told = of(sentence)
        denied = told & {"nothing", "never", "nobody"} or "not send" in sentence or "not sent" in sentence
        if told & (CARRIES_OUT | CARRIES_OUT_MORE) and not denied:
            return True
    return False


def lix(text: str) -> float:
    """How hard a text is to read: words a sentence, plus the percentage of words with more than six letters.

    Below 30 it is easy, above 50 hard, above 60 for experts. It needs no syllables, so it serves in most languages
    that are written with letters and full stops.

    Source: Björnsson 1968, "Läsbarhet".
    """
    words = re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", text)
    if not words:
        return 0.0
    sentences = max(1, len(re.findall(r"[.!?:]+(?=\s|$)", text)))
    long = sum(len(word) > 6 for word in words)
    return len(words) / sentences + 100.0 * long / len(words)
