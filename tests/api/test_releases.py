"""What the log says of the detectors: once for each release, a new measurement included, and only of whole
files."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from api import measured, releases
from api.errors import MeasurementsError
from api.measured import FINGERPRINT, READER, Measured
from registry import Registry
from registry.log import Kind, LogFiles, canonical
from watermark import Detector, Key


@pytest.fixture
def registry(database_url: str, tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(database_url, log_files=LogFiles.in_folder(tmp_path / "data")) as registry:
        yield registry


@pytest.fixture
def detector(tmp_path: Path) -> Detector:
    return Detector.load(key=Key.load_or_create(tmp_path / "watermark.key"))


def test_a_release_is_logged_once_and_again_when_it_was_measured_anew(
    registry: Registry, detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart must not add an entry, and who asks for the rates of a day must get those of that day."""
    first = releases.log_release(registry, detector)
    assert first is not None
    assert releases.log_release(registry, detector) == first

    anew = json.loads(READER.read_text())
    anew["found"][0]["num_found"] -= 1
    (tmp_path / "measured.json").write_text(json.dumps(anew))
    monkeypatch.setattr(measured, "READER", tmp_path / "measured.json")
    second = releases.log_release(registry, detector)
    assert second == releases.log_release(registry, detector) == first + 1
    said = [json.loads(registry.log.entry_at(index).leaf)["detectors"][0] for index in (first, second)]
    assert [one["measured"]["found"][0]["num_found"] for one in said] == [
        anew["found"][0]["num_found"] + 1,
        anew["found"][0]["num_found"],
    ]
    assert registry.log.newest(Kind.DETECTOR_RELEASE).log_index == second


def test_what_is_logged_reads_back_as_it_was(registry: Registry, detector: Detector) -> None:
    """The newest entry is compared with this: a value that JSON changes would be a new release each time."""
    described = releases.describe(registry, detector)
    assert json.loads(canonical(described)) == described
    assert releases.describe(registry, detector) == described


@pytest.mark.parametrize("path", [READER, FINGERPRINT], ids=["keyed mark", "fingerprint"])
def test_what_is_shipped_is_counts_with_their_day_and_weights(path: Path) -> None:
    shipped = Measured.load(path)
    assert shipped.as_json() == json.loads(path.read_text())
    assert len({one.edit for one in shipped.found}) == len(shipped.found) >= 6


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"num_found": 60', '"num_found": 61'),
        ('"num_found": 60', '"num_found": 0.99'),
        ('"num_found": 60', '"num_missed": 0'),
        ('"0.01": 231', '"0.01": 180001'),
        ('"0.01": 231', '"1 %": 1341'),
        ('"measured_on": "2026', '"measured_on": "yesterday, 2026'),
        ('"weights_sha256": "', '"weights_sha256": "x'),
        ("{", ""),
    ],
)
def test_a_damaged_file_of_rates_is_refused(tmp_path: Path, old: str, new: str) -> None:
    """Logged, it could not be taken back."""
    text = READER.read_text()
    assert old in text
    (tmp_path / "measured.json").write_text(text.replace(old, new, 1))
    with pytest.raises(MeasurementsError, match="reinstall"):
        Measured.load(tmp_path / "measured.json")


def test_a_missing_file_of_rates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MeasurementsError, match="reinstall"):
        Measured.load(tmp_path / "measured.json")
