"""`edge-agent`: the daemon, and what an operator asks of it.

The daemon starts past click: a device pays for its memory and time at every start, and `run` takes two options.
"""

import sys

OPTIONS = {"--settings": "settings_path", "--profile": "profile"}


def main() -> None:
    """What the command line says."""
    given = plain_run(sys.argv[1:])
    if given is None:
        from edge_agent.commands.group import main as group

        group()
    else:
        from edge_agent.start import start_plainly

        sys.exit(start_plainly(**given))


def plain_run(words: list[str]) -> dict[str, str] | None:
    """The options of `run --settings FILE --profile FILE`; None for everything that click should read.

    That is any other command, `--help`, an unknown option, a value that is missing.
    """
    if words[:1] != ["run"] or len(words) % 2 == 0:
        return None
    given: dict[str, str] = {}
    for option, value in zip(words[1::2], words[2::2], strict=True):
        if option not in OPTIONS or value.startswith("-"):
            return None
        given[OPTIONS[option]] = value
    return given


if __name__ == "__main__":
    main()
