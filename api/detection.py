"""Tell whether audio came from here, and how sure each technique is. The order, with the numbers used below:

(0) decode in the sandbox; (1) too short or silent: inconclusive; (2) keyed mark: p-value, payload,
segments; a change of speed or pitch that it gives away is undone for (4) to (6); (3) public mark; (4)
fingerprint: matches with offsets; (5) registry: look the payload up, or recognise a mark that cannot be read
among those issued, and mark its spans off by its codeword; (6) agreement of (2), (4) and (5), span by span;
(7) verdict; (8) sign the result.

"A mark is there" and "we issued this" are two findings: a mark counts only where the audio is that of the
generation it names (docs/decisions/0005). The audio lives in memory and only during the call.
(3) decides nothing, since anyone can make a public mark; without weights its row says so. (8) is where the
key is: in `api.service`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray

from api import evidence
from api.agreement import WHOLE, agreement, is_clear
from api.audible import Audible, audible
from api.compute import Ear
from api.evidence import Named
from api.issued_time import as_issued, in_submitted_time
from api.recognition import IssuedMarks
from api.schemas import AudioInput, Detection, Evidence, GenerationFacts, Retention
from api.signing import LIMIT
from api.verdict import Agreement, Findings, Judgement, Mark, Search, Verdict, judge
from api.waveform import outline
from audio import SAMPLE_RATE_HZ, Decoded, DecodeLimits, decode
from registry import Generation, IndexUnavailable, Match, MatchResult, Prepared, Registry
from watermark import Detection as MarkDetection
from watermark import Outcome as MarkOutcome
from watermark import Recognised

MIN_AUDIBLE_S = 1.0
"""One fingerprint window, and what the keyed detector asks for."""

MAX_NAMED = 4
"""Content ids that are looked up for one file, longest marked first; a splice of more is judged by these."""

LIMITS = (
    "Heavy noise, very low bit rates and speeds beyond 0.8 to 1.25 can hide the mark and the fingerprint.",
    "A mark can be removed or copied; no technique here is proof by itself.",
    LIMIT,
)


Span = tuple[float, float]


def detect(
    data: bytes,
    ear: Ear,
    issued: IssuedMarks,
    limits: DecodeLimits,
    admit: Callable[[NDArray[np.float32]], None],
    num_peaks: int | None = None,
) -> Detection:
    """Judge one audio file; `issued` is what a mark that cannot be read is recognised among.

    `admit` is shown the decoded audio, and may refuse by raising; with `num_peaks` the answer has its
    outline. Raises AudioError for bytes that give no audio, DatabaseUnavailable; nothing is kept.
    """
    registry, detector = ear.registry, ear.detector
    decoded = decode(data, limits)  # (0)
    admit(decoded.wav_T)
    shape = None if num_peaks is None else outline(decoded.wav_T, num_peaks)
    heard = audible(decoded.wav_T)
    if heard.duration_s < MIN_AUDIBLE_S:  # (1)
        reason = _too_little(decoded, heard)
        judgement = Judgement(Verdict.INCONCLUSIVE, f"The audio cannot be judged: it is {reason}.")
        rows = evidence.unjudged(registry, detector, reason)
        return _result(data, decoded, shape, rows, judgement, None)
    mark = ear.mark(decoded.wav_T)  # (2)
    shown = detector.public.detect(decoded.wav_T, SAMPLE_RATE_HZ) if detector.public else None  # (3)
    issued_T = as_issued(decoded.wav_T, mark.warp)
    heard, prepared = audible(issued_T), ear.prepare(issued_T)
    searched = _search(registry, prepared)  # (4)
    likely = _content_ids(registry, searched) if mark.unread else {}
    recognised = issued.recognised(mark, list(likely.values()))  # (5)
    if recognised:
        whose_ids = {place: one.content_id for place, one in recognised.items()}
        mark = detector.marked_off(decoded.wav_T, SAMPLE_RATE_HZ, mark, whose_ids)
    named = [
        _look_up(registry, prepared, heard, content_id, spans)
        for content_id, spans in _named_spans(mark, recognised)
    ]
    judged = max(named, key=_rank, default=None)  # (6), the longest marked of equals
    clear = _clear_matches(searched, heard)
    denied = [] if named else [one for one in clear if _denied(issued, mark, one, likely)]
    clear = [one for one in clear if one not in denied]
    judgement = judge(_findings(mark, judged, searched, clear, denied))  # (7)
    rows = [
        evidence.keyed_mark(detector, mark, recognised),
        evidence.public_mark(detector, shown),
        in_submitted_time(evidence.fingerprint(registry, searched, denied), mark.warp),
        in_submitted_time(evidence.registry_row(registry, mark, named), mark.warp),
    ]
    whose = _attributed(registry, judgement, judged, clear)
    return _result(data, decoded, shape, rows, *_with_standing(registry, judgement, whose))


def _too_little(decoded: Decoded, heard: Audible) -> str:
    duration_s = decoded.source.duration_s
    short = duration_s < MIN_AUDIBLE_S or heard.duration_s >= duration_s / 2
    word = "too short" if short else "silent"
    return f"{word}, {heard.duration_s:.2f} s audible where {MIN_AUDIBLE_S:g} s is needed"


def _search(registry: Registry, prepared: Prepared) -> MatchResult | IndexUnavailable:
    """(4) The error is evidence too: the mark can still be judged without the index."""
    try:
        return registry.search(prepared)
    except IndexUnavailable as exc:
        return exc


def _clear_matches(searched: MatchResult | IndexUnavailable, heard: Audible) -> list[Match]:
    """(6) The accepted matches that are strong enough to attribute audio, best first."""
    if isinstance(searched, IndexUnavailable):
        return []
    return [one for one in searched.matches if is_clear(one, heard)]


def _content_ids(registry: Registry, searched: MatchResult | IndexUnavailable) -> dict[UUID, int]:
    """(5) Of the generations that the search accepts: whose mark it is likely to be."""
    if isinstance(searched, IndexUnavailable):
        return {}
    found = dict.fromkeys(match.generation_id for match in searched.matches)
    return {generation_id: registry.generation(generation_id).content_id for generation_id in found}


def _denied(issued: IssuedMarks, mark: MarkDetection, match: Match, likely: dict[UUID, int]) -> bool:
    """(6) Whether the mark says that a match, however alike, is not whose audio this is."""
    content_id = likely.get(match.generation_id)
    return content_id is not None and issued.denies(mark, match, content_id)


def _named_spans(mark: MarkDetection, recognised: dict[int, Recognised]) -> list[tuple[int, list[Span]]]:
    """The content ids that were read or recognised with their spans in issued time, longest marked first."""
    spans: dict[int, list[Span]] = {}
    for segment in mark.segments:
        content_id = evidence.content_id_of(segment, recognised)
        if content_id is not None:
            spans.setdefault(content_id, []).append(
                (segment.start_s * mark.warp.tempo, segment.end_s * mark.warp.tempo)
            )
    if mark.payload is not None:
        spans.setdefault(mark.payload, [])
    longest = sorted(spans.items(), key=lambda item: -sum(end_s - start_s for start_s, end_s in item[1]))
    return longest[:MAX_NAMED]


def _look_up(
    registry: Registry, prepared: Prepared, heard: Audible, content_id: int, spans: list[Span]
) -> Named:
    """(5) The generation of a content id, and (6) whether this audio is it."""
    throughout = heard.covered(spans) >= WHOLE
    generation = registry.generation_by_content_id(content_id)
    if generation is None:
        return Named(content_id, None, None, Agreement.UNKNOWN, throughout)
    comparison = registry.compare(generation.generation_id, prepared)
    return Named(content_id, generation, comparison, agreement(comparison, heard), throughout)


def _rank(named: Named) -> int:
    """Which content id decides when the mark carries several: one of ours that agrees before one that does
    not."""
    if named.generation is None:
        return 0
    return 1 + [Agreement.NONE, Agreement.UNKNOWN, Agreement.PART, Agreement.WHOLE].index(named.agreement)


def _findings(
    mark: MarkDetection,
    judged: Named | None,
    searched: MatchResult | IndexUnavailable,
    clear: list[Match],
    denied: list[Match],
) -> Findings:
    generation = judged.generation if judged else None
    return Findings(
        mark=Mark.NAMES if judged else _UNNAMED[mark.outcome],
        mark_throughout=judged is not None and judged.mark_throughout,
        registered=generation is not None,
        agreement=judged.agreement if judged else Agreement.UNKNOWN,
        search=_said_by_search(searched, clear, generation) if clear or not denied else Search.DENIED,
    )


_UNNAMED = {
    MarkOutcome.FOUND: Mark.UNNAMED,
    MarkOutcome.NOT_FOUND: Mark.ABSENT,
    MarkOutcome.INCONCLUSIVE: Mark.UNJUDGED,
}


def _said_by_search(
    searched: MatchResult | IndexUnavailable, clear: list[Match], generation: Generation | None
) -> Search:
    if clear:
        same = generation is not None and any(one.generation_id == generation.generation_id for one in clear)
        return Search.SAME if same else Search.OTHER
    looked = isinstance(searched, MatchResult) and searched.outcome == "not_found"
    return Search.NONE if looked else Search.UNJUDGED  # accepted but weak matches settle nothing


def _attributed(
    registry: Registry, judgement: Judgement, judged: Named | None, clear: list[Match]
) -> Generation | None:
    """The generation that the verdict attributes the audio to: the mark's, else the search's best."""
    if not judgement.attributes:
        return None
    if judged is not None and judged.generation is not None:
        return judged.generation
    return registry.generation(clear[0].generation_id)  # without a mark only a match attributes


def _with_standing(
    registry: Registry, judgement: Judgement, issued: Generation | None
) -> tuple[Judgement, GenerationFacts | None]:
    """Whose audio it is stays true when it was withdrawn, and whoever asks must hear of that too."""
    if issued is None:
        return judgement, None
    standing = registry.standing([issued.generation_id])[issued.generation_id]
    if standing.withdrawn_at is not None:
        withdrawn = f"It was withdrawn on {standing.withdrawn_at:%Y-%m-%d}; the log says why."
        judgement = replace(judgement, reason=f"{judgement.reason} {withdrawn}")
    return judgement, GenerationFacts.of(issued, standing)


def _result(
    data: bytes,
    decoded: Decoded,
    shape: list[float] | None,
    rows: list[Evidence],
    judgement: Judgement,
    facts: GenerationFacts | None,
) -> Detection:
    """The answer, not signed yet; its time is also when the audio is gone: nothing holds it after this
    call."""
    now = datetime.now(UTC)
    source = decoded.source
    return Detection(
        id=uuid4(),
        created_at=now,
        verdict=judgement.verdict,
        verdict_reason=judgement.reason,
        input=AudioInput(
            sha256=hashlib.sha256(data).hexdigest(),
            bytes=len(data),
            container=source.container,
            codec=source.codec,
            duration_s=source.duration_s,
            channels=source.channels,
            sample_rate_hz=source.sample_rate_hz,
        ),
        waveform=shape,
        evidence=rows,
        generation=facts,
        limits=list(LIMITS),
        retention=Retention(audio_deleted_at=now),
        signature=None,
    )
