"""What MQTT allows as a topic name and as a topic filter. Source: MQTT 5, sections 1.5.4, 4.7 and 4.8.2."""

BYTES_MAX = 65_535
SHARE = "$share"


def topic_fault(topic: str) -> str:
    """Why `topic` cannot be published to; empty when it can."""
    if "+" in topic or "#" in topic:
        return "a topic that is published to has no wildcards"
    return _text_fault(topic)


def filter_fault(text: str) -> str:
    """Why `text` cannot be subscribed to; empty when it can."""
    levels = text.split("/")
    if levels[0] == SHARE:
        if len(levels) < 3 or not levels[1] or "+" in levels[1]:
            return "a shared subscription is written $share/GROUP/FILTER"
        levels = levels[2:]
        text = "/".join(levels)
    for n, level in enumerate(levels):
        if "#" in level and (level != "#" or n + 1 < len(levels)):
            return "`#` only stands alone after the last /"
        if "+" in level and level != "+":
            return "`+` only stands alone between two /"
    return _text_fault(text)


def _text_fault(text: str) -> str:
    if not text:
        return "it is empty"
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        return "it is no valid UTF-8"
    if length > BYTES_MAX:
        return f"it is longer than {BYTES_MAX} bytes"
    return "it holds a null character" if "\x00" in text else ""
