"""Reading a JSON object strictly: each field is taken once, by name and kind, and what is left is refused."""

import json
from pathlib import Path
from typing import Any, TypeVar, cast

from generation.errors import CheckpointError

T = TypeVar("T")
_REQUIRED: Any = object()
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


class Fields:
    """The fields of one object. Errors name the file, the field and what it says."""

    def __init__(self, values: object, where: str) -> None:
        if not isinstance(values, dict):
            raise CheckpointError(f"{where} is no JSON object of named fields")
        self.where, self._left = where, dict(values)

    @classmethod
    def read(cls, path: Path) -> "Fields":
        """The object in a file. Raises CheckpointError when it is unreadable or no JSON."""
        try:
            return cls(json.loads(path.read_text("utf-8")), str(path))
        except OSError as exc:
            raise CheckpointError(f"{path} cannot be read: {exc.strerror or exc}") from exc
        except ValueError as exc:
            raise CheckpointError(f"{path} is no JSON: {exc}") from exc

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def peek(self, name: str) -> object:
        """What the field says, as it stands; None where it is missing."""
        return self._left.get(name)

    def take(self, name: str, kind: type[T], default: T = _REQUIRED) -> T:
        """The field's value, of that kind. A whole number is a number; true is neither."""
        value = self._left.pop(name, default)
        if value is _REQUIRED:
            raise CheckpointError(f"{self.where} does not say {name!r}")
        return self._of_kind(name, value, kind)

    def optional(self, name: str, kind: type[T]) -> T | None:
        """As `take`; None where the field is missing or null."""
        value = self._left.pop(name, None)
        return None if value is None else self._of_kind(name, value, kind)

    def whole_numbers(self, name: str) -> tuple[int, ...] | None:
        """A list of whole numbers; None where the field is missing or null."""
        values = self._left.pop(name, None)
        if values is None:
            return None
        if not isinstance(values, list):
            raise self._unlike(name, values, "a list of whole numbers")
        return tuple(self._of_kind(name, value, int) for value in values)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; none where the field is missing or null."""
        values = self._left.pop(name, None) or []
        if not isinstance(values, list):
            raise self._unlike(name, values, "a list of texts")
        return tuple(self._of_kind(name, value, str) for value in values)

    def inner(self, name: str) -> "Fields":
        """An object inside this one; empty where the field is missing or null."""
        return Fields(self._left.pop(name, None) or {}, f"{self.where.rstrip(',')}, {name},")

    def names(self) -> tuple[str, ...]:
        """The fields that were not taken yet."""
        return tuple(self._left)

    def only(self, name: str, *allowed: object, default: object = _REQUIRED) -> None:
        """Refuse a field that says anything but what is supported here."""
        value = self._left.pop(name, default)
        if value is _REQUIRED:
            raise CheckpointError(
                f"{self.where} does not say {name!r}, and what it then means is unsupported"
            )
        if not any(value == other and type(value) is type(other) for other in allowed):
            raise self._unlike(name, value, " or ".join(json.dumps(other) for other in allowed))

    def ignore(self, *names: str) -> None:
        """Drop fields that change nothing here."""
        for name in names:
            self._left.pop(name, None)

    def finish(self) -> None:
        """Raises CheckpointError when a field was not taken: what it asks for would silently not happen."""
        if self._left:
            listed = ", ".join(sorted(self._left))
            raise CheckpointError(f"{self.where} has fields that this version does not know: {listed}")

    def _of_kind(self, name: str, value: object, kind: type[T]) -> T:
        if kind is float and type(value) is int:
            return cast(T, float(value))
        if type(value) is not kind:
            raise self._unlike(name, value, _KINDS[kind])
        return value

    def _unlike(self, name: str, value: object, wanted: str) -> CheckpointError:
        said = json.dumps(value)
        return CheckpointError(
            f"{self.where} says {name} = {said[:60]}, which is unsupported: it must be {wanted}"
        )
