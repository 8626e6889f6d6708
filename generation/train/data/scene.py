"""Two people on one line: the turns of a dialogue laid out in time, each side on a channel of its own.

    scene = lay_out([Turn(Side.USER, said), Turn(Side.MOSHI, said), …], murmurs, rng)
    scene.moshi, scene.user        # SpokenSentence of one length, with the words of that side

    change of turn     after a gap of GAP_S on average, now and then before the other has ended (overlap)
    back-channel       the listener murmurs within a long turn and takes no turn
    interruption       the user begins within Moshi's turn; Moshi finishes its word after REACTION_S and stops

Times are drawn from `rng` alone, so a scene comes out the same again. Levels, echo and noise of a line are
`heard`. Dimension key: T samples at 24 kHz.
Source: Moshi (Defossez et al., 2024, sec. 4.4: overlaps, back-channels, echo and noise on the user's side);
gaps after Stivers et al., 2009. Differs: interruptions are laid out, not taken from recordings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from audio import SAMPLE_RATE_HZ
from audio.store import Wav
from generation.train.data.item import SpokenSentence, Word

GAP_S, GAP_SPREAD_S = 0.25, 0.2
LEAST_GAP_S, MOST_GAP_S = -0.25, 1.0
OWN_GAP_S = (0.3, 0.8)  # between two turns of one side
REACTION_S = (0.25, 0.5)
BACK_CHANNEL_SHARE = 0.3  # of turns that are long enough
INTERRUPTED_SHARE = 0.25
LEAST_TURN_S = 2.0  # for either
EDGE_S = 0.4  # of silence before the first turn and after the last
_FADE_S = 0.03
_MURMUR_LEVEL = 0.6


class Side(StrEnum):
    """Who speaks."""

    MOSHI = "moshi"
    USER = "user"

    @property
    def other(self) -> "Side":
        return Side.USER if self is Side.MOSHI else Side.MOSHI


class Turn(NamedTuple):
    """What one side says before the other does."""

    side: Side
    said: SpokenSentence


class Event(NamedTuple):
    """Something but a plain change of turn: "overlap", "back-channel", "interruption"; by whom, and when."""

    kind: str
    side: Side
    at_s: float


@dataclass(frozen=True)
class Scene:
    """Both sides, of one length, and what happened in order of time."""

    moshi: SpokenSentence
    user: SpokenSentence
    events: tuple[Event, ...]


@dataclass
class _Channel:
    """One side as it fills: pieces and where they begin."""

    placed: list[tuple[float, SpokenSentence]] = field(default_factory=list)

    @property
    def end_s(self) -> float:
        return max((start + said.duration_s for start, said in self.placed), default=0.0)

    def spoken(self, num_samples: int, voice: str) -> SpokenSentence:
        wav_T = np.zeros(num_samples, np.float32)
        words: list[Word] = []
        for start_s, said in sorted(self.placed, key=lambda one: one[0]):
            start = round(start_s * SAMPLE_RATE_HZ)
            wav_T[start : start + len(said.wav_T)] += said.wav_T
            words += [Word(text, start_s + begin, start_s + end) for text, begin, end in said.words]
        return SpokenSentence(" ".join(word.text for word in words), tuple(words), wav_T, voice)


def lay_out(
    turns: Sequence[Turn], murmurs: Mapping[Side, Sequence[SpokenSentence]], rng: np.random.Generator
) -> Scene:
    """`murmurs`: what a side may murmur, short and neutral; none for a side that never does.

    Raises ValueError without turns of both sides.
    """
    voices = {turn.side: turn.said.voice for turn in turns}
    if len(voices) < len(Side):
        raise ValueError("a scene needs turns of both sides")
    channels = {side: _Channel() for side in Side}
    events: list[Event] = []
    start_s = EDGE_S
    for turn, following in pairwise([*turns, None]):
        assert turn is not None
        start_s = max(start_s, channels[turn.side].end_s)
        said, next_s = _taken(turn, following, start_s, events, rng)
        channels[turn.side].placed.append((start_s, said))
        _murmur(turn.side.other, said, start_s, next_s, channels, murmurs, events, rng)
        start_s = next_s
    num_samples = round((max(one.end_s for one in channels.values()) + EDGE_S) * SAMPLE_RATE_HZ)
    sides = {side: channel.spoken(num_samples, voices[side]) for side, channel in channels.items()}
    ordered = tuple(sorted(events, key=lambda event: event.at_s))
    return Scene(sides[Side.MOSHI], sides[Side.USER], ordered)


def _taken(
    turn: Turn, following: Turn | None, start_s: float, events: list[Event], rng: np.random.Generator
) -> tuple[SpokenSentence, float]:
    """What is heard of a turn, and when the next one begins."""
    end_s = start_s + turn.said.duration_s
    if following is None:
        return turn.said, end_s
    if following.side is turn.side:
        return turn.said, end_s + rng.uniform(*OWN_GAP_S)
    may_be_cut = turn.side is Side.MOSHI and turn.said.duration_s >= LEAST_TURN_S
    if may_be_cut and rng.random() < INTERRUPTED_SHARE:
        begin_s = start_s + turn.said.duration_s * rng.uniform(0.3, 0.7)
        events.append(Event("interruption", following.side, begin_s))
        return _stopped(turn.said, begin_s - start_s + rng.uniform(*REACTION_S)), begin_s
    gap_s = float(np.clip(rng.normal(GAP_S, GAP_SPREAD_S), LEAST_GAP_S, MOST_GAP_S))
    next_s = max(end_s + gap_s, start_s)
    if next_s < end_s:
        events.append(Event("overlap", following.side, next_s))
    return turn.said, next_s


def _stopped(said: SpokenSentence, after_s: float) -> SpokenSentence:
    """The utterance up to the end of the word that is heard at `after_s`, or that comes next."""
    kept = tuple(word for word in said.words if word.start_s < after_s) or said.words[:1]
    if len(kept) == len(said.words):
        return said
    end = round(kept[-1].end_s * SAMPLE_RATE_HZ)
    fade = min(round(_FADE_S * SAMPLE_RATE_HZ), len(said.wav_T) - end)
    wav_T = said.wav_T[: end + fade].copy()
    wav_T[end:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    return replace(said, text=" ".join(word.text for word in kept), words=kept, wav_T=wav_T)


def _murmur(
    listener: Side,
    said: SpokenSentence,
    start_s: float,
    next_s: float,
    channels: Mapping[Side, _Channel],
    murmurs: Mapping[Side, Sequence[SpokenSentence]],
    events: list[Event],
    rng: np.random.Generator,
) -> None:
    """Now and then; never into what the listener says itself, before or after."""
    choices = murmurs.get(listener, ())
    if not choices or said.duration_s < LEAST_TURN_S or rng.random() >= BACK_CHANNEL_SHARE:
        return
    murmur = choices[int(rng.integers(len(choices)))]
    at_s = start_s + said.duration_s * rng.uniform(0.3, 0.6)
    if at_s < channels[listener].end_s or at_s + murmur.duration_s + OWN_GAP_S[0] > next_s:
        return
    channels[listener].placed.append((at_s, replace(murmur, wav_T=_MURMUR_LEVEL * murmur.wav_T)))
    events.append(Event("back-channel", listener, at_s))


def heard(scene: Scene, rng: np.random.Generator) -> Wav:
    """The user's channel as a line brings it, float32 [T]: a level of -24 to +15 dB in half of the scenes,
    an echo of Moshi 0.1 to 0.5 s late and at most 0.2 as loud in a third, noise 10 to 30 dB below in a third.
    """
    wav_T = scene.user.wav_T.copy()
    if rng.random() < 0.3:
        late = round(rng.uniform(0.1, 0.5) * SAMPLE_RATE_HZ)
        wav_T[late:] += np.float32(rng.uniform(0.0, 0.2)) * scene.moshi.wav_T[: len(wav_T) - late]
    if rng.random() < 0.3:
        level = np.sqrt(np.mean(np.square(scene.user.wav_T))) * 10.0 ** (-rng.uniform(10.0, 30.0) / 20.0)
        wav_T += (level * rng.standard_normal(len(wav_T))).astype(np.float32)
    if rng.random() < 0.5:
        wav_T *= np.float32(10.0 ** (rng.uniform(-24.0, 15.0) / 20.0))
    return np.clip(wav_T, -1.0, 1.0)
