"""Whether a model takes turns: when it answers, whether it stops when interrupted, whether it listens.

    python -m benchmarks.converse SPEECH --model FOLDER [--scenes 50]

SPEECH is what `earmark train data --hours-dialogues` made. The user's side of each held-out scene is
played to the model, frame by frame on the scene's own clock:

    answered       user turns, followed by ANSWER_S of the user's silence, after which it speaks in that time
    response time  from the end of such a turn to its first speech; about 0 where it spoke already
    overlap        the part of the user's speech during which it speaks too
    stopped        then it is interrupted: once it has spoken for SPEAKS_S, the user's longest turn begins
                   anew, and it is silent for QUIET_S before STOP_S have passed; and how long that took

It speaks where a frame of 80 ms is within ACTIVE_DB of its loudest one. What it says is not judged, and the
scenes are of synthesizers, as those it was trained on. Everything here was held out from training.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ
from benchmarks import report
from generation import Dialogue
from generation.train.data.cache import Row, SpeechCache
from generation.train.data.dialogues import FOLDER, NUM_HELD_OUT
from generation.train.data.item import Part

ANSWER_S = 2.0
SPEAKS_S = 0.8
STOP_S, QUIET_S = 2.0, 0.4
WAIT_S = 6.0  # for it to speak, before it is interrupted
ACTIVE_DB, LEAST_DB = 30.0, -55.0
SEED = 7

Wav = NDArray[np.float32]
Spans = list[tuple[float, float]]


class Heard(NamedTuple):
    """What came of one scene; times in seconds."""

    response_s: list[float]
    num_turns: int  # of the user, that ask for an answer
    spoken_s: float  # by the user
    overlap_s: float
    stop_s: float | None  # None: it did not stop, or was never interrupted
    interrupted: bool


def turns(row: Row) -> Spans:
    """The user's stretches of speech: words less than ANSWER_S apart."""
    spans: Spans = []
    for word in row.words:
        if spans and word.start_s - spans[-1][1] < ANSWER_S:
            spans[-1] = (spans[-1][0], word.end_s)
        else:
            spans.append((word.start_s, word.end_s))
    return spans


class Line:
    """A model that hears one frame after the other, and when it spoke."""

    def __init__(self, dialogue: Dialogue, seed: int) -> None:
        self._dialogue, self._row = dialogue, dialogue.open(seed=seed)
        self.frame_s = dialogue.frame_samples / SAMPLE_RATE_HZ
        self._said: list[Wav] = []

    def hear(self, wav_T: Wav) -> Iterator[None]:
        """Frame by frame, the last one filled up with silence."""
        frame = self._dialogue.frame_samples
        for start in range(0, len(wav_T), frame):
            frame_T = np.zeros(frame, np.float32)
            frame_T[: len(wav_T[start : start + frame])] = wav_T[start : start + frame]
            spoken = self._dialogue.step({self._row: frame_T}).get(self._row)
            self._said.append(np.zeros(frame, np.float32) if spoken is None else spoken.speech_T)
            yield

    def close(self) -> None:
        self._dialogue.close(self._row)

    @property
    def num_frames(self) -> int:
        return len(self._said)

    def activity(self) -> NDArray[np.bool_]:
        """Of each frame until now."""
        power_F = np.array([float(np.mean(said_T**2)) for said_T in self._said])
        level_F = 10 * np.log10(power_F + 1e-12)
        active: NDArray[np.bool_] = level_F > max(level_F.max() - ACTIVE_DB, LEAST_DB)
        return active

    def spoke_for_s(self) -> float:
        """How long it has spoken without a pause until now."""
        silent = np.flatnonzero(~self.activity())
        return (self.num_frames - 1 - int(silent[-1]) if len(silent) else self.num_frames) * self.frame_s

    def silent_for_s(self) -> float:
        """How long it has been silent until now."""
        active = np.flatnonzero(self.activity())
        return (self.num_frames - 1 - int(active[-1]) if len(active) else self.num_frames) * self.frame_s


def played(dialogue: Dialogue, speech: SpeechCache, user: Row, seed: int) -> Heard:
    """One scene's user, and then the interruption."""
    line, wav_T = Line(dialogue, seed), speech.read(user).wav_T
    try:
        for _ in line.hear(wav_T):
            pass
        response_s, num_turns, overlap_s = _turn_taking(line, user)
        spoken_s = sum(end_s - start_s for start_s, end_s in turns(user))
        longest_s = max(turns(user), key=lambda span: span[1] - span[0])
        edges = [round(edge_s * SAMPLE_RATE_HZ) for edge_s in longest_s]
        interrupted, stop_s = _interrupted(line, wav_T[edges[0] : edges[1]])
        return Heard(response_s, num_turns, spoken_s, overlap_s, stop_s, interrupted)
    finally:
        line.close()


def _turn_taking(line: Line, user: Row) -> tuple[list[float], int, float]:
    speaks_F, frame_s = line.activity(), line.frame_s
    spans = turns(user)
    begins_s = [start_s for start_s, _ in spans[1:]] + [line.num_frames * frame_s]
    response_s, num_turns, overlap_s = [], 0, 0.0
    for (start_s, end_s), next_s in zip(spans, begins_s, strict=True):
        first, end = (int(edge_s / frame_s) for edge_s in (start_s, end_s))
        overlap_s += float(speaks_F[first:end].sum()) * frame_s
        if next_s - end_s < ANSWER_S:
            continue
        num_turns += 1
        after = np.flatnonzero(speaks_F[end : end + round(ANSWER_S / frame_s)])
        if len(after):
            response_s.append((end + int(after[0])) * frame_s - end_s)
    return response_s, num_turns, overlap_s


def _interrupted(line: Line, turn_T: Wav) -> tuple[bool, float | None]:
    """Wait until it speaks, then begin to speak."""
    silence_T = np.zeros(round(WAIT_S * SAMPLE_RATE_HZ), np.float32)
    for _ in line.hear(silence_T):
        if line.spoke_for_s() >= SPEAKS_S:
            break
    else:
        return False, None
    begun = line.num_frames
    filled_T = np.pad(turn_T, (0, round(STOP_S * SAMPLE_RATE_HZ)))
    for _ in line.hear(filled_T[: round((STOP_S + QUIET_S) * SAMPLE_RATE_HZ)]):
        if line.silent_for_s() >= QUIET_S and line.num_frames > begun:
            return True, (line.num_frames - begun) * line.frame_s - QUIET_S
    return True, None


def main() -> None:
    """Print the table and write benchmarks/results/converse.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--scenes", type=int, default=NUM_HELD_OUT)
    args = parser.parse_args()
    torch.set_num_threads(1)

    dialogue, speech = Dialogue.load(args.model), SpeechCache(args.speech / FOLDER)
    users = [row for row in speech.rows[1::2] if row.part is Part.TEST][: args.scenes]
    heard = [played(dialogue, speech, user, SEED + number) for number, user in enumerate(users)]
    response_s = [time_s for one in heard for time_s in one.response_s]
    stop_s = [one.stop_s for one in heard if one.stop_s is not None]
    shares = {
        "answered": report.Proportion(len(response_s), sum(one.num_turns for one in heard)),
        "stopped": report.Proportion(len(stop_s), sum(one.interrupted for one in heard)),
    }
    overlap = sum(one.overlap_s for one in heard) / max(1e-9, sum(one.spoken_s for one in heard))
    times = {"response time, s": _quartiles(response_s), "stop time, s": _quartiles(stop_s)}
    print(report.table(("", ""), [
        *((name, str(value)) for name, value in shares.items()),
        *((name, " / ".join(f"{value:.2f}" for value in values)) for name, values in times.items()),
        ("overlap with the user", f"{100 * overlap:.1f} %"),
    ]))  # fmt: skip
    print(f"{len(heard)} scenes; times are quartiles")
    result = {name: share.as_json() for name, share in shares.items()}
    print(report.write("converse", result | times | {"scenes": len(heard), "overlap": overlap}))


def _quartiles(values: Sequence[float]) -> list[float]:
    return [float(value) for value in np.quantile(values, (0.25, 0.5, 0.75))] if values else []


if __name__ == "__main__":
    main()
