"""A detection in words: the verdict, then one line per technique with how sure it is.

Works on the JSON object of `POST /v1/detections` and nothing else, so what a person reads on a terminal and
what a program reads are the same finding. No number is fused with another: each line is one technique's.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

JsonObject = Mapping[str, Any]

VERDICTS = {
    "issued_here": "issued here",
    "issued_here_altered": "issued here, but only parts of it agree with what was issued",
    "mark_transplanted": "NOT what was issued: the mark of another recording was put on this audio",
    "marked_unknown_issuer": "marked, but this registry did not issue it",
    "not_detected": "nothing detected (this does not mean that a human spoke)",
    "inconclusive": "cannot be judged",
}

TECHNIQUES = {
    "watermark_keyed": "keyed watermark",
    "watermark_public": "public watermark",
    "fingerprint": "fingerprint",
    "registry": "registry",
}

_NAME_WIDTH = max(map(len, TECHNIQUES.values()))
_OUTCOME_WIDTH = len("not applicable")
_MAX_SPANS_SHOWN = 3


def describe(name: str, detection: JsonObject) -> str:
    """The lines for one file, without a final newline. `name` is what the file is called on this terminal."""
    lines = [f"{name}: {VERDICTS[detection['verdict']]}", f"  {detection['verdict_reason']}"]
    lines += [_evidence_line(evidence) for evidence in detection["evidence"]]
    return "\n".join(lines)


def notes(detections: Sequence[JsonObject]) -> str:
    """The limits that hold for these detections, each said once."""
    limits = {limit: None for detection in detections for limit in detection["limits"]}
    return "\n".join(f"note: {limit}" for limit in limits)


def _evidence_line(evidence: JsonObject) -> str:
    name = TECHNIQUES.get(evidence["technique"], evidence["technique"])
    outcome = evidence["outcome"].replace("_", " ")
    details = []
    if evidence["false_alarm_probability"] is not None:
        details.append(how_sure(evidence["false_alarm_probability"]))
    if evidence["reason"] is not None:
        details.append(evidence["reason"])
    if evidence["outcome"] == "found" and evidence["segments"]:
        details.append(_spans(evidence["segments"]))
    return f"  {name:<{_NAME_WIDTH}}  {outcome:<{_OUTCOME_WIDTH}}  {'; '.join(details)}".rstrip()


def how_sure(p_false_alarm: float) -> str:
    """The false-alarm probability as a count. Below 1e-300 the number says only that it is very small."""
    if p_false_alarm >= 0.5:
        return "a random clip usually looks like this"
    return f"a random clip would look like this {_once_in(p_false_alarm)}"


def _once_in(p: float) -> str:
    if p < 1e-300:
        return "less than once in 10^300"
    one_in = 1.0 / p
    count = (
        f"{float(f'{one_in:.2g}'):,.0f}" if one_in < 1e6 else f"10^{math.floor(math.log10(one_in) + 1e-9)}"
    )
    return f"about once in {count}"


def _spans(segments: Sequence[JsonObject]) -> str:
    """Where, and what it names: the first few spans; the JSON has all of them."""
    shown = [_span(segment) for segment in segments[:_MAX_SPANS_SHOWN]]
    if len(segments) > _MAX_SPANS_SHOWN:
        shown.append(f"and {len(segments) - _MAX_SPANS_SHOWN} more")
    return "; ".join(shown)


def _span(segment: JsonObject) -> str:
    text = f"{segment['start_s']:.1f} to {segment['end_s']:.1f} s"
    if segment.get("content_id"):
        text += f", content id {segment['content_id']}"
    p_recognised = segment.get("content_id_false_alarm_probability")
    if p_recognised is not None:
        text += f" (recognised; another would fit as well {_once_in(p_recognised)})"
    if segment.get("generation_id"):
        text += f", generation {segment['generation_id']}"
    if segment.get("offset_s") is not None:
        text += f" at {segment['offset_s']:.2f} s"
    return text
