"""What the command line expects to go wrong.

    CommandError             a sentence for the person who typed it; the command failed (exit code 1)
    └── UsageError           it was called wrongly (exit code 2)

Errors of the packages below are shown by the sentence they carry; `expected_errors` lists their bases.
"""


class CommandError(Exception):
    """The command cannot do what was asked; the message says what to do."""

    exit_code = 1


class UsageError(CommandError):
    """The arguments fit the grammar but make no sense together."""

    exit_code = 2


def expected_errors() -> tuple[type[Exception], ...]:
    """Bases of everything that is raised on purpose. Imports the packages, hence a function."""
    from api.errors import EXPECTED

    return (*EXPECTED, OSError)
