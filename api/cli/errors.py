"""What the command line expects to go wrong.

    CommandError             a sentence for the person who typed it; the command failed (exit code 1)
    ├── UsageError           it was called wrongly (exit code 2)
    └── UnreachableError     `log monitor` could not look, so it says nothing about the log (exit code 3)

Errors of the packages below are shown by the sentence they carry; `expected_errors` lists their bases.
"""


class CommandError(Exception):
    """The command cannot do what was asked; the message says what to do."""

    exit_code = 1


class UsageError(CommandError):
    """The arguments fit the grammar but make no sense together."""

    exit_code = 2


class UnreachableError(CommandError):
    """What was to be judged could not be reached; nothing is known about it. Trying again may help."""

    exit_code = 3


def expected_errors() -> tuple[type[Exception], ...]:
    """Bases of everything that is raised on purpose. Imports the packages, hence a function."""
    from api.errors import EXPECTED

    return (*EXPECTED, OSError)


def sentence(exc: Exception) -> str:
    """What an expected error says, on one line."""
    if isinstance(exc, OSError) and exc.strerror:
        return f"{exc.filename}: {exc.strerror}" if exc.filename else exc.strerror
    return " ".join(str(exc).split()) or type(exc).__name__
