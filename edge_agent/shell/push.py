"""One push: a JSON document POSTed to a gateway, with an Idempotency-Key that is the same at every try.

The body: `id`, `to` (the address book's entry), `title`, `text`, `channel`, `placement`, `expires_ms`; a retraction
has `retracts`, the id of the message that is to go. 2xx: taken. 408, 409, 425, 429 and 5xx: again, no sooner than
Retry-After. Anything else: refused. Redirects are not followed: a message goes where the settings say.
"""

import contextlib
import http.client
import ssl
from urllib.parse import urlsplit

import msgspec

from edge_agent.egress.letter import Letter
from edge_agent.settings import Push
from edge_agent.shell.tries import SENT, Outcome, again, refused

AGAIN = frozenset({408, 409, 425, 429})
READ_BYTES = 65_536
WAIT_S_MAX = 86_400.0


def send(one: Letter, gateway: Push, address: str, token: str) -> Outcome:
    """Try once; whatever the gateway does, the answer is one of three."""
    where = urlsplit(gateway.url)
    path = (where.path or "/") + (f"?{where.query}" if where.query else "")
    headers = {"Content-Type": "application/json", "Idempotency-Key": one.key}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        line = _line(gateway)
        with contextlib.closing(line):
            line.request("POST", path, body(one, address), headers)
            answer = line.getresponse()
            answer.read(READ_BYTES)
            return _by_status(answer.status, answer.getheader("Retry-After", ""))
    except ssl.SSLCertVerificationError as error:
        return again(f"the gateway's certificate is not trusted ({error.verify_message})")
    except (OSError, http.client.HTTPException) as error:
        return again(f"the gateway cannot be reached ({type(error).__name__})")
    except ValueError:
        return refused("the token or the path cannot be sent as a header")


def body(one: Letter, address: str) -> bytes:
    """The document."""
    said = {
        "id": one.key,
        "to": address,
        "title": one.title,
        "text": one.text,
        "channel": one.channel,
        "placement": one.placement,
        "expires_ms": one.expires_ms,
    }
    return msgspec.json.encode({**said, "retracts": one.retracts} if one.retracts else said)


def _line(gateway: Push) -> http.client.HTTPConnection:
    where = urlsplit(gateway.url)
    host, port = where.hostname or "", where.port
    if where.scheme == "http":  # to this machine only: the settings see to it
        return http.client.HTTPConnection(host, port, timeout=gateway.timeout_s)
    trusted = ssl.create_default_context(cafile=gateway.ca or None)
    return http.client.HTTPSConnection(host, port, timeout=gateway.timeout_s, context=trusted)


def _by_status(status: int, retry_after: str) -> Outcome:
    if 200 <= status < 300:
        return SENT
    if status in AGAIN or status >= 500:
        wait_s = float(retry_after) if retry_after.isdecimal() and len(retry_after) < 9 else 0.0
        return again(f"the gateway says {status}", min(wait_s, WAIT_S_MAX))
    return refused(f"the gateway says {status}")
