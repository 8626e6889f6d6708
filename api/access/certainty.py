"""What an anonymous caller is told of how sure a technique is: three words, no number.

    high      audio of others looks like this less than once in 10^6
    moderate  less than once in 10^3
    low       more often, or the technique has no calibrated number

A score or a p-value that moves with every small change of a file is what an attack on the mark climbs along;
a word that changes twice is a poor guide. So whoever has no key gets the word and spans of half seconds, and
whoever has one gets the numbers too (docs/decisions/0015). Nothing else differs: the verdict, its reason and
the outcome of each technique are the same."""

import math

from api.schemas import Certainty, Detection, Evidence, Outcome, Precision, Segment

HIGH_P, MODERATE_P = 1e-6, 1e-3
COARSE_S = 0.5


def present(detection: Detection, exact: bool) -> Detection:
    """The finding as this caller gets it: with the words, and when `exact` with the numbers too."""
    precision = Precision.EXACT if exact else Precision.COARSE
    rows = [_worded(row) for row in detection.evidence]
    if not exact:
        rows = [_coarse(row, detection.input.duration_s) for row in rows]
    return detection.model_copy(update={"evidence": rows, "precision": precision})


def certainty(false_alarm_probability: float | None) -> Certainty:
    """The word for a number in [0, 1]."""
    if false_alarm_probability is None or false_alarm_probability > MODERATE_P:
        return Certainty.LOW
    return Certainty.MODERATE if false_alarm_probability > HIGH_P else Certainty.HIGH


def _worded(row: Evidence) -> Evidence:
    if row.outcome is not Outcome.FOUND:
        return row
    return row.model_copy(update={"certainty": certainty(row.false_alarm_probability)})


def _coarse(row: Evidence, duration_s: float) -> Evidence:
    return row.model_copy(
        update={
            "score": None,
            "threshold": None,
            "false_alarm_probability": None,
            "scores": None,
            "segments": [_coarse_segment(segment, duration_s) for segment in row.segments],
        }
    )


def _coarse_segment(segment: Segment, duration_s: float) -> Segment:
    start_s = math.floor(segment.start_s / COARSE_S) * COARSE_S
    end_s = min(math.ceil(segment.end_s / COARSE_S) * COARSE_S, duration_s)
    offset_s = None if segment.offset_s is None else round(segment.offset_s / COARSE_S) * COARSE_S
    return segment.model_copy(
        update={
            "score": None,
            "content_id_false_alarm_probability": None,
            "start_s": start_s,
            "end_s": end_s,
            "offset_s": offset_s,
        }
    )
