"""A public mark from weights that the operator names: put on everything, looked for, deciding nothing."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from api.service import Service
from api.settings import Settings
from audio import decode
from registry.log import Kind
from tests.api.conftest import flac, recording, row
from tests.conftest import reachable_folder
from tests.watermark.audioseal.conftest import CONSTANT_MESSAGE, constant_mark
from watermark import WeightsError
from watermark.audioseal.embed import SealEmbedder
from watermark.audioseal.weights import PublicWeights

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return constant_mark(tmp_path_factory.mktemp("public"))


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[Service]:
    with reachable_folder() as folder:
        settings = Settings(data_dir=folder / "data", public_weights=weights)
        service = Service.open(settings)
        try:
            yield service
        finally:
            service.close()


def _detect(service: Service, data: bytes) -> dict:
    return service.detect(data).model_dump(mode="json")


def test_a_marked_file_carries_both_marks(service: Service, weights: Path) -> None:
    marked = service.mark_file(recording("kathleen_1"))
    answer = _detect(service, marked.data)
    public = row(answer, "watermark_public")
    assert public["outcome"] == "found"
    assert public["reason"].startswith(
        f"it shows the name {CONSTANT_MESSAGE:04x}, which is not this service's"
    )
    assert public["score"] > public["threshold"]
    assert public["false_alarm_probability"] <= 1e-3
    assert public["certainty"] in ("moderate", "high")
    assert public["segments"][0]["end_s"] - public["segments"][0]["start_s"] > 9
    assert public["segments"][0]["content_id"] is None
    detector = public["detector"]
    assert (detector["name"], detector["version"]) == ("audioseal", "1")
    assert detector["weights_sha256"] == PublicWeights.load(weights).sha256
    assert row(answer, "watermark_keyed")["outcome"] == "found"
    assert answer["verdict"] == "issued_here"


def test_a_live_stream_carries_both_marks(service: Service) -> None:
    wav_T = decode(recording("kerstin_1")).wav_T
    stream = service.open_stream("a test")
    parts = [stream.push(wav_T[at : at + 1920]) for at in range(0, len(wav_T), 1920)]
    answer = _detect(service, flac(np.concatenate([*parts, stream.finish()])))
    assert row(answer, "watermark_public")["outcome"] == "found"
    assert answer["verdict"] == "issued_here"


def test_unmarked_speech_shows_no_public_mark(service: Service) -> None:
    answer = _detect(service, recording("kathleen_2"))
    public = row(answer, "watermark_public")
    assert public["outcome"] == "not_found"
    assert public["score"] < public["threshold"]
    assert public["segments"] == []
    assert answer["verdict"] == "not_detected"


def test_a_public_mark_that_a_stranger_wrote_decides_nothing(service: Service, weights: Path) -> None:
    """Whoever has the weights can put the mark on a human voice; that must not make it issued, or marked."""
    embedder = SealEmbedder(PublicWeights.load(weights))
    wav_T = decode(recording("amelia")).wav_T
    state = embedder.open(service.detector.issuer)
    mark_T = np.concatenate([embedder.push(state, wav_T), embedder.flush(state)])
    answer = _detect(service, flac(wav_T + mark_T))
    assert row(answer, "watermark_public")["outcome"] == "found"
    assert answer["verdict"] == "not_detected"


def test_a_clip_too_short_for_the_public_mark_says_so(service: Service) -> None:
    wav_T = decode(recording("kathleen_2")).wav_T
    for seconds, words in ((0.5, "too short"), (3.0, "too short: 5 s are needed")):
        answer = _detect(service, flac(wav_T[: int(seconds * 24_000)]))
        public = row(answer, "watermark_public")
        assert public["outcome"] == "inconclusive"
        assert words in public["reason"]


def test_the_release_that_is_logged_names_the_weights(service: Service, weights: Path) -> None:
    newest = service.registry.log.newest(Kind.DETECTOR_RELEASE)
    assert newest is not None
    (public,) = [
        one for one in json.loads(newest.leaf)["detectors"] if one["technique"] == "watermark_public"
    ]
    loaded = PublicWeights.load(weights)
    assert public["weights_sha256"] == loaded.sha256
    assert public["measured_false_alarms"] == {"num_negatives": loaded.null.num_negatives}


def test_a_service_whose_weights_are_missing_does_not_start(tmp_path: Path) -> None:
    """To mark without the public mark that the operator asked for would go unnoticed for ever."""
    with reachable_folder() as folder, pytest.raises(WeightsError, match="cannot be read"):
        Service.open(Settings(data_dir=folder / "data", public_weights=tmp_path / "absent"))
    assert not (folder / "data" / "postgres").exists()


def _earmark(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "api.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_line_takes_the_weights_as_an_option(tmp_path: Path) -> None:
    refused = _earmark("mark", "in.wav", "-o", "out.wav", "--public-weights", str(tmp_path / "absent"))
    assert refused.returncode == 1 and "Traceback" not in refused.stderr


def test_a_published_file_that_would_run_something_is_refused_by_convert(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    pickled = b"\x80\x02cposix\nsystem\nX" + len(f"touch {proof}").to_bytes(4, "little")
    pickled += f"touch {proof}".encode() + b"\x85R."
    for name in ("generator_streaming.pth", "detector_streaming.pth"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("archive/data.pkl", pickled)
    out = tmp_path / "public_mark.safetensors"
    refused = _earmark("watermark", "convert", str(tmp_path), str(tmp_path), "-o", str(out))
    assert refused.returncode == 1
    assert "generator_streaming.pth is not read: it names posix.system" in refused.stderr
    assert not out.exists() and not proof.exists()
