"""One row of evidence per technique, from what the packages below return to the JSON that is answered.

A row never sums up another: each has its own outcome, score, threshold and false-alarm probability, and the
version of the detector that said so. Not here: the verdict (`api.verdict`)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from uuid import UUID

from api.issued_time import described
from api.schemas import DetectorVersion, Evidence, Outcome, ScoreAt, Segment, Technique, content_id_hex
from api.verdict import Agreement
from registry import Generation, IndexUnavailable, Match, MatchResult, Registry
from watermark import Detection as MarkDetection
from watermark import Detector, MarkSegment, Recognised

NO_PUBLIC_MARK = "this service has no weights of a public mark"
RECOGNISED = "a content id was not read but recognised among those issued here"
DENIED = "the mark is not that of generation {}, which is therefore not whose audio this is"


@dataclass(frozen=True)
class Named:
    """One content id that the mark carries, what the registry holds for it, and how the audio compares with
    it."""

    content_id: int
    generation: Generation | None
    comparison: MatchResult | None  # with that one generation; None without a generation
    agreement: Agreement
    mark_throughout: bool  # the mark with this content id covers (nearly) all audible audio


def keyed_mark(detector: Detector, mark: MarkDetection, recognised: dict[int, Recognised]) -> Evidence:
    """(2) The keyed mark, with the content id of each span where one verifies or was recognised (5)."""
    return Evidence(
        technique=Technique.WATERMARK_KEYED,
        outcome=Outcome(mark.outcome.value),
        reason=mark.reason or _joined(described(mark.warp), RECOGNISED if recognised else None),
        detector=_mark_detector(detector),
        score=_finite(mark.score),
        threshold=_finite(mark.threshold),
        false_alarm_probability=mark.false_alarm_probability,
        segments=[
            Segment(
                start_s=segment.start_s,
                end_s=segment.end_s,
                score=segment.score,
                content_id=_hex(content_id_of(segment, recognised)),
                content_id_false_alarm_probability=_p_recognised(segment, recognised),
            )
            for segment in mark.segments
        ],
        scores=[ScoreAt(at_s=one.at_s, score=one.score) for one in mark.scores] or None,
    )


def content_id_of(segment: MarkSegment, recognised: dict[int, Recognised]) -> int | None:
    """What was read from a span's mark, or whom it was recognised as; None for neither."""
    if segment.payload is not None or segment.unread not in recognised:
        return segment.payload
    return recognised[segment.unread].content_id


def _p_recognised(segment: MarkSegment, recognised: dict[int, Recognised]) -> float | None:
    if segment.unread not in recognised:
        return None
    return recognised[segment.unread].false_alarm_probability


def public_mark(detector: Detector, mark: MarkDetection | None) -> Evidence:
    """(3) The public mark, and whose name it shows; None: there are no weights to look for one with."""
    if mark is None:
        version = _public_detector(detector)
        return _bare(Technique.WATERMARK_PUBLIC, Outcome.NOT_APPLICABLE, NO_PUBLIC_MARK, version)
    return Evidence(
        technique=Technique.WATERMARK_PUBLIC,
        outcome=Outcome(mark.outcome.value),
        reason=mark.reason if mark.message is None else _said_by(mark.message, detector.issuer),
        detector=_public_detector(detector),
        score=_finite(mark.score),
        threshold=_finite(mark.threshold),
        false_alarm_probability=mark.false_alarm_probability,
        segments=[
            Segment(start_s=segment.start_s, end_s=segment.end_s, score=segment.score)
            for segment in mark.segments
        ],
    )


def _said_by(message: int, issuer: int) -> str:
    """Anyone can write a public message, so the words claim nothing."""
    if message == issuer:
        return f"it shows the name of this service, {message:04x}, which anyone could have written"
    return f"it shows the name {message:04x}, which is not this service's ({issuer:04x})"


def fingerprint(
    registry: Registry, searched: MatchResult | IndexUnavailable, denied: Sequence[Match]
) -> Evidence:
    """(4) The search over all fingerprints, best match first; `denied`: those that the mark says are
    another's (6)."""
    if isinstance(searched, IndexUnavailable):
        return _bare(Technique.FINGERPRINT, Outcome.ERROR, str(searched), _fingerprint_detector(registry))
    return Evidence(
        technique=Technique.FINGERPRINT,
        outcome=Outcome(searched.outcome),
        reason=_joined(searched.reason, *(DENIED.format(one) for one in _generations(denied))),
        detector=_fingerprint_detector(registry),
        score=_finite(searched.score),
        threshold=_finite(searched.threshold),
        false_alarm_probability=searched.false_alarm_probability,
        segments=[_matched_span(match, None) for match in searched.matches],
    )


def registry_row(registry: Registry, mark: MarkDetection, named: list[Named]) -> Evidence:
    """(5) and (6): whether the registry holds what the mark names, and where the audio is that generation's.

    Score, threshold and false-alarm probability are of the comparison with the generation that is judged,
    which is the best agreeing one; null when there was none to compare with."""
    detector = _registry_detector(registry)
    if not named:
        reason = (
            "no content id is read from the mark, and none that was issued fits it surely"
            if mark.outcome.value == "found"
            else "there is no mark to look up"
        )
        return _bare(Technique.REGISTRY, Outcome.NOT_APPLICABLE, reason, detector)
    compared = [(one.content_id, one.comparison) for one in named if one.comparison is not None]
    if not compared:
        ids = ", ".join(content_id_hex(one.content_id) for one in named)
        return _bare(
            Technique.REGISTRY, Outcome.NOT_FOUND, f"no generation has the content id {ids}", detector
        )
    best = max((comparison for _, comparison in compared), key=lambda comparison: comparison.score)
    return Evidence(
        technique=Technique.REGISTRY,
        outcome=Outcome.FOUND,
        reason=_comparisons(named),
        detector=detector,
        score=_finite(best.score),
        threshold=_finite(best.threshold),
        false_alarm_probability=best.false_alarm_probability,
        segments=[_matched_span(match, one) for one, comparison in compared for match in comparison.matches],
    )


def unjudged(registry: Registry, detector: Detector, reason: str) -> list[Evidence]:
    """(1) The rows of audio that no technique can judge."""
    return [
        _bare(Technique.WATERMARK_KEYED, Outcome.INCONCLUSIVE, reason, _mark_detector(detector)),
        _public_mark_unjudged(detector, reason),
        _bare(Technique.FINGERPRINT, Outcome.INCONCLUSIVE, reason, _fingerprint_detector(registry)),
        _bare(
            Technique.REGISTRY,
            Outcome.NOT_APPLICABLE,
            "there is no mark to look up",
            _registry_detector(registry),
        ),
    ]


def _public_mark_unjudged(detector: Detector, reason: str) -> Evidence:
    if detector.public is None:
        return public_mark(detector, None)
    return _bare(Technique.WATERMARK_PUBLIC, Outcome.INCONCLUSIVE, reason, _public_detector(detector))


def _comparisons(named: list[Named]) -> str:
    said = {
        Agreement.WHOLE: "the audio is it",
        Agreement.PART: "parts of the audio are it",
        Agreement.NONE: "the audio is not it",
        Agreement.UNKNOWN: "too little to tell whether the audio is it",
    }
    return "; ".join(
        f"{content_id_hex(one.content_id)}: "
        + (said[one.agreement] if one.generation else "not in the registry")
        for one in named
    )


def _matched_span(match: Match, content_id: int | None) -> Segment:
    return Segment(
        start_s=match.start_s,
        end_s=match.end_s,
        score=match.score,
        content_id=_hex(content_id),
        generation_id=match.generation_id,
        offset_s=match.offset_s,
    )


def _bare(technique: Technique, outcome: Outcome, reason: str, detector: DetectorVersion) -> Evidence:
    return Evidence(
        technique=technique,
        outcome=outcome,
        reason=reason,
        detector=detector,
        score=None,
        threshold=None,
        false_alarm_probability=None,
    )


def _mark_detector(detector: Detector) -> DetectorVersion:
    return DetectorVersion(
        name=detector.name, version=detector.version, weights_sha256=detector.weights_sha256
    )


def _public_detector(detector: Detector) -> DetectorVersion:
    public = detector.public
    if public is None:
        return DetectorVersion(name="audioseal", version="none", weights_sha256=None)
    return DetectorVersion(name=public.name, version=public.version, weights_sha256=public.weights_sha256)


def _fingerprint_detector(registry: Registry) -> DetectorVersion:
    used = registry.fingerprinter
    return DetectorVersion(
        name="earmark-fingerprint", version=used.version, weights_sha256=used.weights_sha256
    )


def _registry_detector(registry: Registry) -> DetectorVersion:
    """The comparison with one generation uses the fingerprint network's weights."""
    return DetectorVersion(
        name="earmark-registry",
        version=software_version(),
        weights_sha256=registry.fingerprinter.weights_sha256,
    )


@cache
def software_version() -> str:
    """The installed version; it is read from a file once, which takes longer than all rows of evidence."""
    return version("earmark")


def _generations(matches: Sequence[Match]) -> list[UUID]:
    return list(dict.fromkeys(one.generation_id for one in matches))


def _joined(*reasons: str | None) -> str | None:
    return "; ".join(filter(None, reasons)) or None


def _hex(content_id: int | None) -> str | None:
    return None if content_id is None else content_id_hex(content_id)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
