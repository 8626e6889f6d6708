import subprocess
import sys

import audio


def test_the_public_names_are_these() -> None:
    """Neighbours import them; a name that vanishes breaks them at run time only."""
    assert sorted(audio.__all__) == sorted(
        [
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
            "SAMPLE_RATE_HZ",
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
    )
    assert all(hasattr(audio, name) for name in audio.__all__)


def test_every_error_has_the_one_base() -> None:
    for error in (audio.AudioFormatError, audio.DecodeError, audio.EncodeError, audio.CorpusError):
        assert issubclass(error, audio.AudioError)


def test_importing_audio_does_not_load_torch() -> None:
    """The command line answers --help through this import."""
    probe = "import sys, audio; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
