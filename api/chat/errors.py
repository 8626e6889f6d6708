"""Why a conversation ends before its client leaves, each with the close code the client gets.

    ChatError
    ├── SessionOver       the time limit has passed; nothing went wrong
    ├── ServerStopping    the server stops; connect again
    ├── NoModel           this server speaks to nobody: it has no model
    ├── LineFull          too many are waiting; come back later
    ├── NotAdmitted       no key, a wrong one, or too many connections
    ├── ParameterRefused  a value in the address does not fit
    ├── ClientFault       what the client sends or does not read cannot be dealt with
    └── ServerFault       a part of ours failed; the log says which

Close codes: RFC 6455, sec. 7.4.1, and IANA's registry for 1012 and 1013. Messages go to the client as they
are."""

from enum import IntEnum


class Close(IntEnum):
    """The close codes used."""

    NORMAL = 1000
    POLICY = 1008
    FAULT = 1011
    RESTART = 1012
    LATER = 1013


class ChatError(Exception):
    """Base of all; the message is one sentence for the person at the other end."""

    close = Close.FAULT
    is_fault_of_ours = False


class SessionOver(ChatError):
    """The session had its time."""

    close = Close.NORMAL


class ServerStopping(ChatError):
    """The server ends its sessions."""

    close = Close.RESTART


class NoModel(ChatError):
    """No model was set."""


class LineFull(ChatError):
    """All seats and all waiting places are taken."""

    close = Close.LATER


class NotAdmitted(ChatError):
    """Who asks may not, or not now."""

    close = Close.POLICY


class ParameterRefused(ChatError):
    """A query parameter is not a number in its range."""

    close = Close.POLICY


class ClientFault(ChatError):
    """Sends too much, reads too slowly, or sends what kills its decoder."""

    close = Close.POLICY


class ServerFault(ChatError):
    """Model, registry or marking failed."""

    is_fault_of_ours = True
