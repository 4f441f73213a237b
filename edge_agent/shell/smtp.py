"""One e-mail through a relay: STARTTLS or TLS, verified; the same Message-ID and Date at every try (RFC 5321, 3207)."""

import contextlib
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate
from urllib.parse import urlsplit

from edge_agent.egress.letter import Letter
from edge_agent.settings import Smtp
from edge_agent.shell.tries import SENT, Outcome, again, refused

PORTS = {"smtp": 587, "smtps": 465}


def send(one: Letter, relay: Smtp, device: str, address: str, password: str) -> Outcome:
    """Try once; whatever the relay does, the answer is one of three.

    A line that breaks after the text was sent leaves open whether it was taken: then it is tried again, and the
    Message-ID tells a receiver that heeds it that it is the same message.
    """
    try:
        message = written(one, relay, device, address)
    except ValueError:
        return refused("the address or the sender is no e-mail address")
    try:
        line = _line(relay)
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        return _why(error)
    try:
        if relay.user:
            line.login(relay.user, password)
        line.send_message(message)
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        return _why(error)
    finally:
        # The message was taken or not by now; how the goodbye goes changes nothing.
        with contextlib.suppress(smtplib.SMTPException, OSError):
            line.quit()
        line.close()
    return SENT


def _why(error: Exception) -> Outcome:
    """A failure in our words: what the relay writes may hold addresses."""
    match error:
        case smtplib.SMTPRecipientsRefused():
            return _by_code(max((code for code, _ in error.recipients.values()), default=0), "the recipient")
        case smtplib.SMTPAuthenticationError():
            return again(f"the relay did not take user and password ({error.smtp_code})")
        case smtplib.SMTPConnectError():
            return again(f"the relay turned us away ({error.smtp_code})")
        case smtplib.SMTPResponseException():
            return _by_code(error.smtp_code, "the message")
        case smtplib.SMTPNotSupportedError():
            return again("the relay offers no STARTTLS or no login; nothing is said in the clear")
        case smtplib.SMTPServerDisconnected():
            return again("the relay hung up")
        case ssl.SSLCertVerificationError():
            return again(f"the relay's certificate is not trusted ({error.verify_message})")
        case _:
            return again(f"the relay cannot be reached ({type(error).__name__})")


def written(one: Letter, relay: Smtp, device: str, address: str) -> EmailMessage:
    """The e-mail.

    Raises:
        ValueError: an address is none, or would break a header.
    """
    message = EmailMessage()
    message["From"] = relay.sender
    message["To"] = address
    if not message["To"].addresses or not message["From"].addresses:
        raise ValueError("no address")
    message["Subject"] = " ".join(one.title.split())
    message["Date"] = formatdate(one.made_ms / 1_000)
    message["Message-ID"] = f"<{one.key}@{device}.edgeward.invalid>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation notes, please
    message.set_content(one.text)
    return message


def _line(relay: Smtp) -> smtplib.SMTP:
    """A line to the relay that is encrypted, or stays on this machine."""
    where = urlsplit(relay.url)
    host, port = where.hostname or "", where.port or PORTS[where.scheme]
    trusted = ssl.create_default_context(cafile=relay.ca or None)
    if where.scheme == "smtps":
        return smtplib.SMTP_SSL(host, port, timeout=relay.timeout_s, context=trusted)
    line = smtplib.SMTP(host, port, timeout=relay.timeout_s)
    if not relay.plain:
        try:
            line.starttls(context=trusted)
        except BaseException:
            line.close()
            raise
    return line


def _by_code(code: int, what: str) -> Outcome:
    """4xx: not now; 5xx: never (RFC 5321, section 4.2.1)."""
    if 500 <= code < 600:
        return refused(f"the relay refused {what} ({code})")
    return again(f"the relay does not take {what} now ({code})")
