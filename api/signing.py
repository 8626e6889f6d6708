"""Sign a detection result, and check one that somebody was sent.

    signature = "— <log name> base64(key id || Ed25519(canonical JSON of the result without `signature`))"

The key is the log's, so one public key checks results and receipts. Canonical JSON begins with `{` and a
checkpoint never does, so neither can be taken for the other. A signed result says what this service found in
a file with that hash, at that time, with detectors whose release is the named log entry. It does not say that
the file at hand is that one: compare `input.sha256`. Source: RFC 8785 for the form.
"""

import json
from typing import Any

from api.schemas import Detection
from registry import ProofRefused, Refusal, RegistryInputError
from registry.log import Signature, SigningKey, VerifierKey, canonical

LIMIT = "The signature shows who said this and when, not that it is right."


def sign(detection: Detection, key: SigningKey) -> Detection:
    """The same result with its signature; anything changed later breaks it."""
    body = detection.model_copy(update={"signature": None}).model_dump(mode="json")
    return detection.model_copy(update={"signature": str(key.sign(_signed(body)))})


def parse(data: bytes) -> dict[str, Any]:
    """The JSON object of a result. Raises `ProofRefused` (malformed)."""
    try:
        result = json.loads(data, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as exc:
        raise ProofRefused(Refusal.MALFORMED, f"this is not JSON: {exc}") from exc
    if not isinstance(result, dict):
        raise ProofRefused(Refusal.MALFORMED, "a result is one JSON object")
    return result


def check(result: dict[str, Any], keys: tuple[VerifierKey, ...]) -> VerifierKey:
    """The key that signed this result. Raises `ProofRefused`: malformed, unsigned, bad signature."""
    line = result.get("signature")
    if not isinstance(line, str):
        raise ProofRefused(Refusal.UNSIGNED, "this result is not signed")
    signature = Signature.parse(line)
    for key in keys:
        if signature.is_of(key):
            if not key.verifies(_signed(result), signature.signature):
                raise ProofRefused(Refusal.BAD_SIGNATURE, f"{key.name} did not sign this: it was changed")
            return key
    # Quoted: a stranger's JSON may name half of a surrogate pair, or what moves a terminal's cursor.
    raise ProofRefused(Refusal.UNSIGNED, f"it is signed by {signature.name!r}, whom you do not trust")


def _signed(result: dict[str, Any]) -> bytes:
    try:
        return canonical({name: value for name, value in result.items() if name != "signature"})
    except RegistryInputError as exc:
        raise ProofRefused(Refusal.MALFORMED, f"this result cannot be read: {exc}") from exc


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two members with one name some readers take the first and some the last."""
    names = dict(members)
    if len(names) != len(members):
        raise ValueError("a member occurs twice")
    return names


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON number")
