"""Lossy codecs as attacks, through the real encoders and decoders of FFmpeg, in process.

Alignment, as a player would give it (measured on 5 s of speech, 24 kHz):
- Opus, MP3, Vorbis: starts where the input started and has its length (pre-skip, LAME header).
- AAC: starts where the input started; up to 1023 samples longer, since the last frame is not cut.
- G.711, G.722: no added delay beyond the resampling, which has none (G.722: 22 samples at 16 kHz).
- AMR-NB: 5 ms late (its look-ahead), as on a call, where nobody compensates; up to 20 ms longer.
- Codec2: 20 (3200) to 25 ms (1200) late, of the input's length. By Debian's `c2enc` and `c2dec`.

The PyAV build has no encoder for AMR-WB, GSM 06.10, Speex or iLBC: those attacks do not exist here.
Dimension key: T samples at 24 kHz, mono.
"""

import shutil
import subprocess
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

from audio import trusted
from audio.encode import encode, to_frame
from audio.rates import SAMPLE_RATE_HZ
from audio.resample import resample

Wav = NDArray[np.float32]

_CODEC2_BLOCK_SAMPLES = 320  # 40 ms: whole frames in every mode


def opus(wav_T: Wav, *, bit_rate: int) -> Wav:
    """Opus in Ogg, 24 kHz, 20 ms frames, variable bit rate around `bit_rate` bit/s."""
    return trusted.read(encode(wav_T, SAMPLE_RATE_HZ, "ogg", codec="opus", bit_rate=bit_rate), "ogg")


def mp3(wav_T: Wav, *, bit_rate: int) -> Wav:
    """MP3 (LAME), 24 kHz, constant `bit_rate` bit/s."""
    return trusted.read(encode(wav_T, SAMPLE_RATE_HZ, "mp3", bit_rate=bit_rate), "mp3")


def aac(wav_T: Wav, *, bit_rate: int) -> Wav:
    """AAC-LC (FFmpeg's encoder) in M4A, 24 kHz."""
    return trusted.read(encode(wav_T, SAMPLE_RATE_HZ, "m4a", codec="aac", bit_rate=bit_rate), "m4a")


def vorbis(wav_T: Wav, *, quality: int) -> Wav:
    """Vorbis (FFmpeg's encoder), stereo of two equal channels; quality 2 is about 44 kbit/s."""
    return trusted.read(encode(wav_T, SAMPLE_RATE_HZ, "ogg", codec="vorbis", quality=quality), "ogg")


def telephone_codec(wav_T: Wav, *, codec: str, rate_hz: int, bit_rate: int | None = None) -> Wav:
    """A speech codec at its own rate, packet by packet with no container.

    `codec` is FFmpeg's name of the encoder: pcm_mulaw, pcm_alaw or libopencore_amrnb at 8 kHz, g722 at
    16 kHz. Output: resampled back to 24 kHz; see the module for its alignment.
    """
    narrow_T = resample(wav_T, SAMPLE_RATE_HZ, rate_hz)
    encoder = _context(codec, "w", rate_hz)
    sample_format = (encoder.codec.audio_formats or [av.AudioFormat("s16")])[0]
    encoder.format = sample_format
    if bit_rate is not None:
        encoder.bit_rate = bit_rate
    decoder = _context(encoder.codec.canonical_name, "r", rate_hz)
    frame = to_frame(np.atleast_2d(narrow_T), rate_hz, sample_format.name)
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    frames = [out for packet in [*packets, None] for out in decoder.decode(packet)]
    heard_T = np.concatenate([_as_float(out) for out in frames])
    return resample(heard_T, rate_hz, SAMPLE_RATE_HZ)


def codec2_is_installed() -> bool:
    """Whether `c2enc` and `c2dec` are on the path."""
    return all(shutil.which(program) for program in ("c2enc", "c2dec"))


def codec2(wav_T: Wav, *, mode: str) -> Wav:
    """Codec 2, a parametric vocoder at 8 kHz. `mode` is its bit rate as c2enc names it: "3200", "1200", …

    Raises FileNotFoundError where the programs are not installed.
    """
    if not codec2_is_installed():
        raise FileNotFoundError("Codec 2 runs c2enc and c2dec, which are not here: apt-get install codec2")
    narrow_T = resample(wav_T, SAMPLE_RATE_HZ, 8_000)
    padded_T = np.pad(narrow_T, (0, -len(narrow_T) % _CODEC2_BLOCK_SAMPLES))
    heard = np.rint(np.clip(padded_T, -1, 1) * (2**15 - 1)).astype("<i2").tobytes()
    for program in ("c2enc", "c2dec"):
        heard = subprocess.run([program, mode, "-", "-"], input=heard, capture_output=True, check=True).stdout
    heard_T = np.frombuffer(heard, "<i2").astype(np.float32)[: len(narrow_T)] / 2**15
    return resample(heard_T, 8_000, SAMPLE_RATE_HZ)[: len(wav_T)]


def _context(codec: str, mode: Literal["r", "w"], rate_hz: int) -> av.AudioCodecContext:
    context = av.CodecContext.create(codec, mode)
    assert isinstance(context, av.AudioCodecContext)
    context.sample_rate = rate_hz
    context.layout = av.AudioLayout("mono")
    return context


def _as_float(frame: av.AudioFrame) -> Wav:
    samples_T = frame.to_ndarray().reshape(-1)
    if samples_T.dtype == np.int16:
        return (samples_T / 2**15).astype(np.float32)
    return samples_T.astype(np.float32)
