"""The sender: a process that takes a few letters along, tries each once, says what came of it, and ends.

The agent never waits for it. It reads addresses and tokens itself, so they are in no other process, and says nothing
of them: not to its parent, not in the log. It imports nothing that the standard library has not.
"""

import os
import stat
import tomllib
from pathlib import Path

from edge_agent.credentials import is_credential
from edge_agent.egress import letter as letters
from edge_agent.egress.letter import Letter
from edge_agent.errors import SenderUnfit
from edge_agent.shell.pipe import Ended, SendTask, Tried, parent_line
from edge_agent.shell.tries import Outcome, refused

FILE_BYTES_MAX = 1_048_576


def main() -> None:
    """Read the task, try every letter, and end."""
    line = parent_line()
    task = line.receive()
    if not isinstance(task, SendTask):
        return
    for packed in task.letters:
        one = letters.unpack(packed)
        outcome = tried(one, task)
        line.send(Tried(key=one.key, outcome=outcome.what, reason=outcome.reason, wait_s=outcome.wait_s))
    line.send(Ended())


def tried(one: Letter, task: SendTask) -> Outcome:
    """One try of one letter."""
    try:
        if one.adapter == "smtp":
            if not task.smtp.url:
                return refused("there is no smtp.url in the settings")
            from edge_agent.shell import smtp

            address = address_of(one, task.smtp.addresses_file)
            password = first_line(task.smtp.password_file) if task.smtp.password_file else ""
            return smtp.send(one, task.smtp, task.device, address, password)
        if not task.push.url:
            return refused("there is no push.url in the settings")
        from edge_agent.shell import push

        address = address_of(one, task.push.addresses_file)
        token = first_line(task.push.token_file) if task.push.token_file else ""
        return push.send(one, task.push, address, token)
    except SenderUnfit as error:
        return Outcome("again", f"{error.code}: {error.what}")
    except LookupError:
        return refused("the address book has no entry for this person")


def address_of(one: Letter, file: str) -> str:
    """Where the letter's subject is reached, else the person whom the subject belongs to.

    Raises:
        SenderUnfit: the file cannot be used.
        KeyError: nobody of that name is in it.
    """
    try:
        book = tomllib.loads(private(file))
    except tomllib.TOMLDecodeError as error:
        # The library's message can quote the line.
        raise SenderUnfit(f"{file} is not TOML", hint='write lines such as ann = "address"') from error
    for name in (one.subject, one.person):
        if isinstance(found := book.get(name), str) and found:
            return found
    raise KeyError


def first_line(file: str) -> str:
    """The secret in a file.

    Raises:
        SenderUnfit: the file cannot be used.
    """
    return private(file).split("\n")[0].strip()


def private(file: str) -> str:
    """What a file holds that only its owner may read.

    Raises:
        SenderUnfit: it is not there, too long, no text, or open to others.
    """
    try:
        with Path(file).open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            if stat.S_IMODE(mode) & 0o077 and not is_credential(Path(file), os.environ):
                raise SenderUnfit(f"{file} is open to other users", hint=f"chmod 600 {file}")
            raw = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise SenderUnfit(f"{file} cannot be read: {error.strerror}", hint="check the path and its owner") from error
    if len(raw) > FILE_BYTES_MAX:
        raise SenderUnfit(f"{file} is larger than {FILE_BYTES_MAX} bytes", hint="is this the right file?")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise SenderUnfit(f"{file} is not UTF-8", hint="save it as UTF-8") from error


if __name__ == "__main__":
    main()
