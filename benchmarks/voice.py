"""How well our own voice speaks: held-out cross-entropies, words that a recogniser understands, speed.

    python -m benchmarks.voice SPEECH [--model mini] [--voice NAME] [--run OUT] [--sentences 100]

SPEECH is what `earmark train data` made; OUT a folder of `earmark train speech`, whose last held-out figures
are copied. The same recogniser (PocketSphinx with its own English model) hears each held-out sentence three
times: as recorded, through the codec, and said by our voice. Speed is of `MarkedSpeech`, so with marking,
fingerprinting and registering, on one thread. Everything here was held out from training.
Not here: a listening test.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from api.service import Service
from api.settings import Settings
from api.speech import MarkedSpeech
from audio import SAMPLE_RATE_HZ, resample
from benchmarks import report
from generation import MINI_VOICE, Speaker
from generation.checkpoints import Checkpoint, load_mimi
from generation.train.data.cache import Row, SpeechCache
from generation.train.data.item import Part
from generation.train.data.sentences import bare

RECOGNISER_HZ = 16_000
SEED = 7
Wav = NDArray[np.float32]


@dataclass(frozen=True)
class Errors:
    """Word errors of one way to speak, over all sentences."""

    name: str
    num_words: int
    num_errors: int
    num_whole: int  # sentences without an error

    @property
    def rate(self) -> float:
        """Word error rate; may exceed 1."""
        return self.num_errors / max(1, self.num_words)


class Recogniser:
    """PocketSphinx with the model of its package."""

    def __init__(self) -> None:
        from pocketsphinx import Decoder

        self._decoder: Any = Decoder(samprate=RECOGNISER_HZ, loglevel="FATAL")

    def words(self, wav_T: Wav) -> list[str]:
        """What it understands."""
        heard_T = resample(wav_T, SAMPLE_RATE_HZ, RECOGNISER_HZ)
        pcm = np.clip(np.rint(heard_T * 32767), -32768, 32767).astype("<i2").tobytes()
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        return [] if hypothesis is None else hypothesis.hypstr.split()


def distance(said: Sequence[str], heard: Sequence[str]) -> int:
    """Words to change, leave out or put in (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for number, word in enumerate(said, 1):
        before, row[0] = row[0], number
        for index, other in enumerate(heard, 1):
            before, row[index] = row[index], min(row[index] + 1, row[index - 1] + 1, before + (word != other))
    return row[-1]


def understood(name: str, rows: Sequence[Row], speak: Callable[[Row], Wav], ears: Recogniser) -> Errors:
    """Speak every sentence and count what was misheard."""
    num_words = num_errors = num_whole = 0
    for row in rows:
        said = bare(row.text).split()
        errors = distance(said, ears.words(speak(row)))
        num_words += len(said)
        num_errors += errors
        num_whole += errors == 0
    return Errors(name, num_words, num_errors, num_whole)


def one_recording_each(speech: SpeechCache, voice: str, limit: int) -> list[Row]:
    """The held-out sentences, each as first recorded."""
    first: dict[str, Row] = {}
    for row in speech.select(Part.TEST, voice, "neutral"):
        first.setdefault(bare(row.text), row)
    return list(first.values())[:limit]


def speed(speaker: Speaker, rows: Sequence[Row]) -> dict[str, float]:
    """Of marked speech, in one process with an embedded registry; after one sentence to warm up."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with Service.open(Settings(data_dir=Path(folder) / "data")) as service:
            _speak(service, speaker, rows[0].text)
            times = [_speak(service, speaker, row.text) for row in rows[1:]]
    first_s, spent_s, busy_s, spoken_s = (np.array(column) for column in zip(*times, strict=True))
    return {
        "first_audio_s_median": float(np.median(first_s)),
        "first_audio_s_worst": float(first_s.max()),
        "real_time_factor": float(spent_s.sum() / spoken_s.sum()),
        "processor_s_per_s": float(busy_s.sum() / spoken_s.sum()),  # of this process, whatever else runs
    }


def _speak(service: Service, speaker: Speaker, text: str) -> tuple[float, float, float, float]:
    """Seconds to the first sample and to the last, of the processor, and of speech."""
    started_s, busy_s = time.perf_counter(), time.process_time()
    speech = MarkedSpeech.begin(service, speaker, speaker.read(text), seed=SEED)
    next(speech)
    first_s = time.perf_counter() - started_s
    for _ in speech:
        pass
    spent_s, busy_s = time.perf_counter() - started_s, time.process_time() - busy_s
    return first_s, spent_s, busy_s, speech.duration_s


def main() -> None:
    """Print the table and write benchmarks/results/voice.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--model", default=MINI_VOICE)
    parser.add_argument("--voice", help="one of the model's (default: its own)")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--timed", type=int, default=11, help="sentences that are timed")
    args = parser.parse_args()
    torch.set_num_threads(1)

    speaker, mimi = Speaker.load(args.model), load_mimi(Checkpoint.open(args.model))
    speech, ears = SpeechCache(args.speech), Recogniser()
    voice = args.voice or speaker.choices("voice")[0]
    rows = one_recording_each(speech, voice, args.sentences)

    def recorded(row: Row) -> Wav:
        return speech.read(row).wav_T

    def coded(row: Row) -> Wav:
        _, made_BT = mimi.run(torch.from_numpy(recorded(row))[None])
        return made_BT[0].numpy()

    def said(row: Row) -> Wav:
        return np.concatenate(list(speaker.say(speaker.read(row.text, voice=voice), seed=SEED)))

    ways = (("as recorded", recorded), ("through the codec", coded), ("said by our voice", said))
    errors = [understood(name, rows, speak, ears) for name, speak in ways]
    print(report.table(
        ("speech", "word error rate", "words", "sentences without an error"),
        [(e.name, f"{100 * e.rate:.1f} %", e.num_words, f"{e.num_whole}/{len(rows)}") for e in errors],
    ))  # fmt: skip
    times = speed(speaker, rows[: args.timed])
    print("\n" + report.table(("speed, one thread, marked and registered", ""), list(times.items())))
    result: dict[str, Any] = {"errors": [vars(e) | {"rate": e.rate} for e in errors], "speed": times}
    if args.run is not None:
        lines = (args.run / "held_out.jsonl").read_text().splitlines()
        result["held_out"] = [json.loads(line) for line in lines]
        print("\nheld-out cross-entropies, nats: " + lines[-1])
    print(report.write("voice", result))


if __name__ == "__main__":
    main()
