"""What the mini codec keeps of speech: `python -m benchmarks.codec SPEECH --data CORPUS [--codec FILE]`.

On the 100 held-out sentences of each voice that its codebooks were placed on, of which SPEECH (`earmark train
data`) has a recording, and on speakers of the corpus's test split, whom no part of the codec has heard. At 8,
4, 2 and 1 codebooks: STOI, PESQ-WB, ViSQOL, mel distance, and for the voices the words that PocketSphinx
gets wrong, which it also does of the recording. Then the share of codes that stay the same after decoding and
encoding again, shifted (Moshi, 2024, table 16), and the time of one stream, frame by frame on one thread.
Prints tables and writes benchmarks/results/codec.json.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from audio import SAMPLE_RATE_HZ, corpus, resample
from benchmarks import report
from benchmarks.visqol import Visqol
from benchmarks.voice import Recogniser, distance, one_recording_each
from generation.checkpoints import read_mimi
from generation.mimi import Mimi
from generation.train.codec.config import MINI, SHIPPED
from generation.train.codec.losses import mel_distance
from generation.train.codec.report import measures
from generation.train.data.build import RECORDED_VOICE
from generation.train.data.cache import SpeechCache
from generation.train.data.sentences import bare

Wav = NDArray[np.float32]
CODEBOOKS = (8, 4, 2, 1)
SHIFTS_MS = (0, 10, 20, 40)
NUM_JUDGED = 20


def voice_clips(speech: SpeechCache, voice: str, limit: int) -> list[tuple[str, Wav]]:
    """Sentence and samples, a recording for each held-out sentence."""
    return [(row.text, speech.read(row).wav_T) for row in one_recording_each(speech, voice, limit)]


def stranger_clips(data: Path, limit: int) -> list[tuple[str, Wav]]:
    """One clip of at least 3 s of each test speaker."""
    first: dict[str, corpus.Clip] = {}
    for clip in corpus.split(corpus.load(data)).test:
        if (clip.seconds or 0) >= 3 and clip.source != RECORDED_VOICE:
            first.setdefault(clip.speaker, clip)
    return [("", corpus.read(clip.path)[: 10 * SAMPLE_RATE_HZ]) for clip in list(first.values())[:limit]]


@torch.no_grad()
def coded(codec: Mimi, wav_T: Wav) -> Wav:
    made_T: Wav = codec.run(torch.from_numpy(wav_T)[None])[1][0].numpy()
    return made_T


def quality(codec: Mimi, clips: Sequence[tuple[str, Wav]], judge: Visqol) -> list[float]:
    """STOI, PESQ-WB, ViSQOL and mel distance, means; ViSQOL of the first NUM_JUDGED."""
    pesq, stoi = measures()
    rows = []
    for number, (_, wav_T) in enumerate(clips):
        made_T = coded(codec, wav_T)
        judged = judge.score(wav_T, made_T) if number < NUM_JUDGED else np.nan
        narrow = [resample(one, SAMPLE_RATE_HZ, 16_000) for one in (wav_T, made_T)]
        mel = mel_distance(torch.from_numpy(made_T)[None], torch.from_numpy(wav_T)[None])
        rows.append((stoi(wav_T, made_T, SAMPLE_RATE_HZ), pesq(16_000, *narrow, "wb"), judged, float(mel)))
    return [float(value) for value in np.nanmean(rows, axis=0)]


def word_errors(clips: Sequence[tuple[str, Wav]], ears: Recogniser, speak: Callable[[Wav], Wav]) -> float:
    """Of all words said."""
    said = [bare(text).split() for text, _ in clips]
    wrong = [distance(words, ears.words(speak(wav_T))) for words, (_, wav_T) in zip(said, clips, strict=True)]
    return sum(wrong) / sum(map(len, said))


@torch.no_grad()
def stability(codec: Mimi, clips: Sequence[tuple[str, Wav]], shift_ms: int) -> list[float]:
    """Share of codes that stay the same when decoded speech is encoded again, codebook by codebook."""
    shift = SAMPLE_RATE_HZ * shift_ms // 1000
    same = []
    for _, wav_T in clips:
        codes_BKF, made_BT = codec.run(torch.from_numpy(wav_T)[None])
        again_BKF, _ = codec.run(torch.nn.functional.pad(made_BT, (shift, 0))[:, : made_BT.shape[1]])
        same.append((again_BKF == codes_BKF)[0, :, 1:].float())
    return [float(value) for value in torch.cat(same, dim=1).mean(dim=1)]


@torch.no_grad()
def real_time_factor(codec: Mimi, wav_T: Wav) -> tuple[float, float]:
    """Median seconds of encoding and of decoding a frame, over the frame's length."""
    state, samples = codec.open(1), codec.config.frame_samples
    times = []
    for start in range(0, len(wav_T) - samples + 1, samples):
        began = time.perf_counter()
        codes_BKF = codec.encode(state, torch.from_numpy(wav_T[start : start + samples])[None])
        between = time.perf_counter()
        codec.decode(state, codes_BKF)
        times.append((between - began, time.perf_counter() - between))
    encoding, decoding = np.median(times, axis=0) * SAMPLE_RATE_HZ / samples
    return float(encoding), float(decoding)


def _shown(name: str, num: int, measured: Sequence[float], wrong: float | None) -> tuple[object, ...]:
    words = "" if wrong is None else f"{100 * wrong:.1f} %"
    return name, num, *(f"{value:.3f}" for value in measured), words


def main() -> None:
    """Print the tables and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--voice", nargs="+", default=["flite-slt", RECORDED_VOICE])
    parser.add_argument("--codec", type=Path, default=SHIPPED)
    parser.add_argument("--clips", type=int, default=100)
    args = parser.parse_args()
    torch.set_num_threads(1)
    judge = Visqol()
    codec, ears, speech = (
        read_mimi(args.codec, MINI, MINI.num_codebooks),
        Recogniser(),
        SpeechCache(args.speech),
    )
    voices = {voice: voice_clips(speech, voice, args.clips) for voice in args.voice}
    rows: list[tuple[str, int, list[float], float | None]] = []
    for name, clips in [*voices.items(), ("strangers", stranger_clips(args.data, 40))]:
        for num in CODEBOOKS:
            codec.num_codebooks = num
            wrong = (
                None if name == "strangers" else word_errors(clips, ears, lambda wav_T: coded(codec, wav_T))
            )
            rows.append((name, num, quality(codec, clips, judge), wrong))
        codec.num_codebooks = MINI.num_codebooks
    headings = ("speech", "codebooks", "STOI", "PESQ-WB", "ViSQOL", "mel", "words wrong")
    print(report.table(headings, [_shown(*row) for row in rows]))
    recorded = {name: word_errors(clips, ears, lambda wav_T: wav_T) for name, clips in voices.items()}
    for name, wrong in recorded.items():
        print(f"{name}: {len(voices[name])} sentences, of recorded words {100 * wrong:.1f} % are got wrong")
    voice = voices[args.voice[0]]
    kept = {shift: stability(codec, voice[:20], shift) for shift in SHIFTS_MS}
    of_each = ("codes that stay, shifted by", *(f"codebook {k}" for k in range(1, MINI.num_codebooks + 1)))
    shares = [(f"{ms} ms", *(f"{100 * share:.0f} %" for share in row)) for ms, row in kept.items()]
    print(report.table(of_each, shares))
    times = real_time_factor(codec, np.concatenate([wav_T for _, wav_T in voice[:5]]))
    print(f"real-time factor, one thread: encoding {times[0]:.3f}, decoding {times[1]:.3f}")
    result = {"rows": rows, "recorded": recorded, "stability": kept, "real_time_factor": times}
    print(report.write("codec", result))


if __name__ == "__main__":
    main()
