"""Audio whose pitch was changed is found at another pitch, and pays for being asked twice more."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from audio import edits
from audio.edits import Edit
from registry import Registry, candidates, matching
from registry.candidates import Looked
from registry.fingerprint.train.gallery import Gallery
from registry.fingerprint.windows import HOP_SAMPLES
from registry.index import WindowIndex
from registry.matching import ACCEPT_BELOW, LEAST_WINDOWS, PITCHES, PLAIN_SHARE, MatchResult
from registry.query import Heard, embed_query, probes
from tests.registry.test_matching import REGISTERED, gallery, speech

Wav = NDArray[np.float32]
__all__ = ["gallery"]  # a fixture
START_S = 2.5


def piece(wav_T: Wav, start_s: float, seconds: float) -> Wav:
    return wav_T[round(start_s * 24_000) :][: round(seconds * 24_000)]


def semitones(number: int) -> Edit:
    return Edit(f"pitch_{number:+d}", "pitch", {"semitones": number})


def match(gallery: Gallery, wav_T: Wav) -> MatchResult:
    return gallery.match(matching.prepare(wav_T, gallery.fingerprinter))


def test_a_copy_at_another_pitch_is_found_at_its_place(registry: Registry) -> None:
    """Three semitones are out of reach of the plain search. The place is that in the file
    which was sent, whose tempo is as it was."""
    ids = {name: registry.register(speech(name), 24_000) for name in ("kathleen_1", "kerstin_1", "amelia")}
    for edit, up in ((semitones(-3), False), (semitones(3), True)):
        copy_T = piece(edits.apply(speech("kerstin_1"), edit), START_S, 5.0)
        result = registry.match(copy_T, 24_000)
        assert result.outcome == "found", (edit, result)
        best = result.matches[0]
        assert best.generation_id == ids["kerstin_1"]
        assert best.offset_s - best.start_s == pytest.approx(START_S, abs=0.25)
        assert (best.pitch > 1) is up
        assert result.reason is not None and ("higher" if up else "lower") in result.reason
        assert best.end_s - best.start_s >= 3.0
        assert best.false_alarm_probability <= ACCEPT_BELOW
    assert registry.match(speech("adocampo"), 24_000).outcome == "not_found"


def test_a_copy_played_slower_is_found_at_its_place(gallery: Gallery) -> None:
    """Nine tenths as fast: nearly two semitones lower, and the lines know the tempo."""
    slow_T = edits.apply(speech("kerstin_1"), "speed_0.9")
    best = match(gallery, piece(slow_T, START_S, 5.0)).matches[0]
    assert best.generation_id.int == REGISTERED.index("kerstin_1")
    assert best.offset_s - 0.9 * best.start_s == pytest.approx(0.9 * START_S, abs=0.25)


@pytest.mark.parametrize("name", ["kathleen_2", "kerstin_2", "adocampo"])
@pytest.mark.parametrize("edit", ["identity", "pitch_-1", "pitch_+1"])
def test_a_stranger_is_not_found_at_another_pitch(gallery: Gallery, name: str, edit: str) -> None:
    """Two of the three have a registered voice."""
    assert match(gallery, edits.apply(speech(name), edit)).outcome == "not_found"


@pytest.mark.parametrize("edit", ["identity", "mp3_32k", "noise_20db", "stretch_1.05"])
def test_what_is_found_as_it_is_is_answered_as_before(gallery: Gallery, edit: str) -> None:
    """One search, and the same spans, scores and probabilities whether or not there are other pitches."""
    calls: list[int] = []

    def search(look: Callable[[WindowIndex], Looked]) -> Looked:
        calls.append(1)
        return look(gallery.index)

    prepared = matching.prepare(edits.apply(speech("kerstin_1"), edit)[:120_000], gallery.fingerprinter)
    result = matching.match(prepared, search, gallery.fetch)
    assert calls == [1]
    assert result == matching.match(replace(prepared, heard=None), search, gallery.fetch)
    assert [found.pitch for found in result.matches] == [1.0]
    assert np.array_equal(
        prepared.query.emb_JD, gallery.fingerprinter.embed(prepared.heard.wav_T, 2_880, -HOP_SAMPLES, 42)
    )


def test_the_searches_share_the_false_alarms(gallery: Gallery) -> None:
    """By hand, from the scores: the plain search pays as one of 1 / 0.9, those at two pitches as 2 / 0.1."""
    null = matching.Null.load()
    plain = match(gallery, piece(speech("kerstin_1"), START_S, 3.0))
    high = match(gallery, piece(edits.apply(speech("kerstin_1"), semitones(3)), START_S, 5.0))
    for result, paid, pitch in ((plain, 1 / 0.9, 1.0), (high, 20.0, 2 ** (2.25 / 12))):
        assert result.matches[0].pitch == pitch
        windows = math.log(LEAST_WINDOWS * paid)
        decay, log_k = null.tail(6.25 if result is plain else 10.5)
        expected = -math.expm1(-math.exp(log_k + windows - decay * result.score))
        assert result.false_alarm_probability == pytest.approx(max(expected, 1e-9), rel=1e-6)
        assert result.threshold == pytest.approx((log_k + windows + 6.9073) / decay, abs=1e-3)
    assert (PLAIN_SHARE, len(PITCHES)) == (0.9, 2)


def test_a_semitone_is_found_without_another_pitch(gallery: Gallery) -> None:
    """Signs and windows both bear it: the search ends before the bands are moved."""
    result = match(gallery, piece(edits.apply(speech("kerstin_1"), "pitch_+1"), 3.3, 5.0))
    assert (result.outcome, result.matches[0].pitch) == ("found", 1.0)


def test_no_pitch_is_tried_where_no_copy_could_be_accepted(gallery: Gallery) -> None:
    """A second among very many windows: it would cost a stranger's time for nothing."""

    class Unused:
        weights_sha256 = gallery.fingerprinter.weights_sha256

        def embed(self, *_: object) -> Wav:
            raise AssertionError("embedded again")

    wav_T = piece(speech("adocampo"), 1.0, 1.0)
    prepared = replace(matching.prepare(wav_T, gallery.fingerprinter), heard=Heard(wav_T, Unused()))
    matching.match(prepared, lambda look: look(gallery.index)._replace(num_windows=10**12), gallery.fetch)
    with pytest.raises(AssertionError, match="embedded again"):
        matching.match(prepared, lambda look: look(gallery.index), gallery.fetch)


@pytest.mark.parametrize("seconds, step", [(1.0, 3), (3.0, 3), (5.0, 3), (5.5, 5), (12.0, 5)])
def test_a_probe_has_the_rows_of_the_whole_query(gallery: Gallery, seconds: float, step: int) -> None:
    """In their places; what it leaves out counts as silence."""
    wav_T = piece(np.tile(speech("kerstin_1"), 2), 0.0, seconds)
    query = embed_query(wav_T, gallery.fingerprinter)
    for one in probes(Heard(wav_T, gallery.fingerprinter), query, PITCHES):
        hop, num_rows = HOP_SAMPLES // query.rows_per_window, len(query.emb_JD)
        whole_JD = gallery.fingerprinter.embed(wav_T, hop, -HOP_SAMPLES, num_rows, (one.pitch,))
        assert not one.informative_J[np.arange(len(query.emb_JD)) % step != 0].any()
        assert np.array_equal(one.informative_J[::step], query.informative_J[::step])
        assert (one.emb_JD[::step] * whole_JD[::step]).sum(axis=1).min() > 0.999
        assert len(candidates.searched_rows(one)) > 0


def test_bands_that_are_shifted_undo_a_change_of_pitch(gallery: Gallery) -> None:
    """Several pitches in one call are those of several calls."""
    before_T, after_T = speech("kerstin_1"), edits.apply(speech("kerstin_1"), "pitch_+2")
    semitone = 2 ** (2 / 12)
    embed = gallery.fingerprinter.embed
    both = embed(after_T, 2_880, 0, 40, (1.0, semitone))
    wanted = embed(before_T, 2_880, 0, 40)
    assert (both[:40] * wanted).sum(axis=1).mean() < 0.9
    assert (both[40:] * wanted).sum(axis=1).mean() > 0.97
    assert (both[40:] * embed(after_T, 2_880, 0, 40, (semitone,))).sum(axis=1).min() > 0.999
