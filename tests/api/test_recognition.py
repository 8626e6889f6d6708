"""Marks that cannot be read, through REST: named among the ids issued here, and never as somebody else's.

Keys and content ids are drawn anew for each server, so what is read of a damaged file differs between runs.
Each test damages a file in several ways and says how many of them must have come out unread.
"""

from dataclasses import replace
from uuid import uuid4

import numpy as np
import pytest

from api.recognition import IssuedMarks
from api.schemas import content_id_hex
from audio import SAMPLE_RATE_HZ, decode, edits
from registry import Match, StartFromSnapshot
from tests.api.conftest import Marked, Server, flac, recording, row
from watermark import Detection, Key, MarkSegment, Warp, payload
from watermark import Outcome as MarkOutcome
from watermark.result import SoftBits, Unread
from watermark.warp import UNCHANGED

AUDIO = {"Content-Type": "audio/flac"}

OURS = ("issued_here", "issued_here_altered")
DAMAGES = [(edit, start_s) for edit in ("mp3_16k", "opus_12k", "noise_20db") for start_s in (0.5, 1.5, 6.0)]
PIECE_S = 3.5
KEY = Key(bytes(range(16)))  # of marks written by hand
ITS, ANOTHERS, THIRD = 0x53D027F580E1, 0xA4D12928DE75, 0x8704A55449BB
"""Content ids as they are drawn; the codewords of neighbours such as 1 and 2 would be alike."""


def damaged(wav_T: np.ndarray, edit: str, start_s: float) -> np.ndarray:
    first = round(start_s * SAMPLE_RATE_HZ)
    return edits.apply(wav_T, edit, seed=0)[first : first + round(PIECE_S * SAMPLE_RATE_HZ)]


def unread(server: Server, marked_T: np.ndarray) -> list[np.ndarray]:
    """The damaged pieces in which the mark is found and its payload is not read."""
    pieces = [damaged(marked_T, *damage) for damage in DAMAGES if damage[1] + PIECE_S < len(marked_T) / 24e3]
    found = [server.service.detector.detect(piece_T, SAMPLE_RATE_HZ) for piece_T in pieces]
    return [piece_T for piece_T, mark in zip(pieces, found, strict=True) if mark.unread]


def recognised(answer: dict) -> set[str]:
    """Content ids that were recognised and not read."""
    segments = row(answer, "watermark_keyed")["segments"]
    return {one["content_id"] for one in segments if one["content_id_false_alarm_probability"] is not None}


@pytest.fixture(scope="module", autouse=True)
def among_many(server: Server) -> None:
    """Ten thousand more ids, as of a larger registry: that of the tests would make it too easy."""
    server.service.issued.follow().extend(np.random.default_rng(9).integers(0, 1 << 48, 10_000))


def test_a_mark_that_is_not_read_names_its_generation(server: Server, kathleen: Marked) -> None:
    """Of nine pieces about six are not read, and of those nearly all are named."""
    pieces = unread(server, kathleen.wav_T)
    assert len(pieces) >= 2
    answers = [server.detect(piece_T) for piece_T in pieces]
    named = [answer for answer in answers if recognised(answer)]
    assert len(named) >= len(pieces) / 2
    for answer in named:
        assert recognised(answer) == {kathleen.content_id}
        assert answer["verdict"] in OURS, answer
        assert answer["generation"]["generation_id"] == kathleen.generation_id
        mark = row(answer, "watermark_keyed")
        assert "not read but recognised among those issued here" in mark["reason"]
        assert max(one["content_id_false_alarm_probability"] for one in mark["segments"]) <= 1e-6
        assert "the audio is it" in row(answer, "registry")["reason"]


def test_who_has_no_key_is_told_of_it_in_words(server: Server, kathleen: Marked) -> None:
    """The same names, and no number that moves when the file is changed a little."""
    for piece_T in unread(server, kathleen.wav_T):
        exact = server.detect(piece_T)
        coarse = server.anonymous.post("/v1/detections", content=flac(piece_T), headers=AUDIO).json()
        mark, plain = row(exact, "watermark_keyed"), row(coarse, "watermark_keyed")
        assert (plain["outcome"], plain["reason"]) == (mark["outcome"], mark["reason"])
        assert coarse["verdict"] == exact["verdict"]
        assert [one["content_id"] for one in plain["segments"]] == [
            one["content_id"] for one in mark["segments"]
        ]
        assert not recognised(coarse)


def test_of_two_recordings_that_sound_the_same_the_mark_says_which_also_when_it_is_not_read(
    server: Server,
) -> None:
    """The same recording marked twice: the fingerprint cannot tell them apart, and took the wrong one.

    What is recognised is always right. A mark too weak to be recognised may be too weak to deny, too, and
    then the fingerprint still chooses: seen in one run of nine, of one piece.
    """
    first, second = server.mark("krisgesling"), server.mark("krisgesling")
    right, wrong = [], []
    for marked in (first, second):
        for piece_T in unread(server, marked.wav_T):
            answer = server.detect(piece_T)
            if answer["generation"] is not None:
                its_own = answer["generation"]["generation_id"] == marked.generation_id
                assert its_own or not recognised(answer), answer
                (right if its_own else wrong).append(marked.generation_id)
    assert set(right) == {first.generation_id, second.generation_id}
    assert len(wrong) <= len(right) / 4


def test_a_mark_that_was_never_issued_names_nobody_and_denies_the_match(
    server: Server, kathleen: Marked
) -> None:
    """The audio of a generation under a mark of this key that this registry never issued: one that lost rows,
    or another one of the same key. The fingerprint alone would attribute it."""
    marked_T = server.service.embedder.mark(kathleen.original_T, SAMPLE_RATE_HZ, payload=0x123456789ABC)
    pieces = unread(server, marked_T)
    assert len(pieces) >= 2
    answers = [server.detect(piece_T) for piece_T in pieces]
    assert not any(recognised(answer) for answer in answers)
    denied = [answer for answer in answers if answer["verdict"] == "inconclusive"]
    assert len(denied) >= len(pieces) / 2, [answer["verdict_reason"] for answer in answers]
    for answer in denied:
        assert answer["generation"] is None
        assert "the mark is not that generation's" in answer["verdict_reason"]
        assert kathleen.generation_id in row(answer, "fingerprint")["reason"]


def heard(content_id: int, *spans: tuple[float, float], warp: Warp = UNCHANGED) -> Detection:
    """A mark with a strong pilot and the clean codeword of an id, which stands in these spans."""
    bits = SoftBits(20.0, tuple(payload.encode(KEY, content_id).tolist()))
    segments = tuple(MarkSegment(start_s, end_s, 9.0, None, unread=0) for start_s, end_s in spans)
    return Detection(MarkOutcome.FOUND, 20, 5, 1e-12, None, segments, warp=warp, unread=(Unread((bits,), 0),))


@pytest.mark.parametrize(
    ("mark", "denied"),
    [
        (heard(ITS, (0, 4)), False),  # its own
        (heard(ANOTHERS, (0, 4)), True),
        (heard(ANOTHERS, (0, 1.5)), False),  # the rest may be another recording
        (heard(ANOTHERS, (0, 1.5), (2, 4)), True),
        (heard(ANOTHERS, (5, 9)), False),
        (heard(ANOTHERS, (0, 1.9), warp=Warp(1.25, 1.25)), True),  # 2.4 s as it was issued
        (replace(heard(ANOTHERS, (0, 4)), segments=(), unread=()), False),
    ],
)
def test_a_mark_denies_what_it_covers(server: Server, mark: Detection, denied: bool) -> None:
    """A match from 0 to 4 s of the generation whose content id is ITS."""
    match = Match(uuid4(), 0.0, 0.0, 4.0, 9.0, 1e-9)
    assert IssuedMarks(KEY, server.service.registry).denies(mark, match, ITS) is denied


def test_one_mark_that_fits_is_enough_against_another_that_does_not(server: Server) -> None:
    """Two marks under one match, as of audio that was marked again."""
    one, other = heard(ITS, (0, 3)), heard(ANOTHERS, (1, 4))
    both = replace(
        one,
        segments=(*one.segments, replace(other.segments[0], unread=1)),
        unread=(*one.unread, *other.unread),
    )
    issued = IssuedMarks(KEY, server.service.registry)
    match = Match(uuid4(), 0.0, 0.0, 4.0, 9.0, 1e-9)
    assert [issued.denies(both, match, content_id) for content_id in (ITS, ANOTHERS, THIRD)] == [
        False,
        False,
        True,
    ]


def test_a_mark_that_other_spans_hide_is_not_recognised(server: Server) -> None:
    issued = IssuedMarks(KEY, server.service.registry)
    shown = heard(7, (0, 4))
    assert issued.recognised(shown, [7])[0].content_id == 7
    assert issued.recognised(replace(shown, segments=()), [7]) == {}


def test_what_another_process_issued_a_moment_ago_is_among_them(server: Server) -> None:
    """The ids are followed by position: nothing is read twice, and nothing is missed."""
    issued = IssuedMarks(server.service.detector._keyed._key, server.service.registry)
    before = len(issued.follow())
    assert len(issued.follow()) == before
    marked = server.mark("krisgesling")
    book = issued.follow()
    assert len(book) == before + 1
    assert content_id_hex(int(book._ids[0][before])) == marked.content_id


def test_who_fell_behind_reads_everything_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = server.service.registry
    issued = IssuedMarks(server.service.detector._keyed._key, registry)
    before = len(issued.follow())
    read = registry.issued_ids

    def dropped(after: int | None = None) -> object:
        if after is not None:
            raise StartFromSnapshot("it was dropped")
        return read()

    monkeypatch.setattr(registry, "issued_ids", dropped)
    assert len(issued.follow()) == before


def test_without_an_unread_mark_nothing_is_asked_of_the_registry(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most detections: they must cost what they did."""
    monkeypatch.delattr(type(server.service.registry), "issued_ids")
    mark = server.service.detector.detect(decode(recording("amelia")).wav_T, SAMPLE_RATE_HZ)
    assert server.service.issued.recognised(mark, []) == {}
    assert server.detect(recording("amelia"))["verdict"] == "not_detected"
