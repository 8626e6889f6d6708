"""Ground floor: waveforms in and out of files, resampling, mel spectrograms, attacks, the training corpus.

Waveforms are float32, nominally in [-1, 1]; the project's rate is `SAMPLE_RATE_HZ`. A stranger's file goes
through `decode` (a sandboxed child) and through nothing else; a stranger's live stream through `PacketReader`
and `OpusDecoder` (a child that lives as long).
"""

from audio.decode import Decoded, NativeAudio, SourceInfo, decode, decode_native
from audio.encode import encode, media_type, writable_containers
from audio.errors import AudioError, AudioFormatError, CorpusError, DecodeError, DecodeFailure, EncodeError
from audio.ogg import PacketReader
from audio.opus import OpusWriter
from audio.opus_decoder import OpusDecoder, StreamLimits
from audio.rates import SAMPLE_RATE_HZ
from audio.resample import resample
from audio.sandbox import DecodeLimits
from audio.wav_stream import WavWriter, wav_header

__all__ = [
    "SAMPLE_RATE_HZ",
    "AudioError",
    "AudioFormatError",
    "CorpusError",
    "DecodeError",
    "DecodeFailure",
    "DecodeLimits",
    "Decoded",
    "EncodeError",
    "NativeAudio",
    "OpusDecoder",
    "OpusWriter",
    "PacketReader",
    "SourceInfo",
    "StreamLimits",
    "WavWriter",
    "decode",
    "decode_native",
    "encode",
    "media_type",
    "resample",
    "wav_header",
    "writable_containers",
]
