"""The one error of the demo."""


class DemoError(Exception):
    """The demo cannot run, or an expectation failed; the message says which."""
