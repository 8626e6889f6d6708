"""Settings come from the environment, are checked, and show no secret."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from api.settings import ROOT_DATA_DIR, Settings, default_data_dir


def test_the_environment_is_read_and_an_argument_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EARMARK_DATA_DIR", str(tmp_path / "a"))
    monkeypatch.setenv("EARMARK_KEY_FILE", str(tmp_path / "k"))
    monkeypatch.setenv("EARMARK_MAX_BODY_BYTES", "1000")
    settings = Settings()
    assert settings.data_dir == tmp_path / "a"
    assert settings.key_path == tmp_path / "k"
    assert settings.max_body_bytes == 1000
    assert Settings(data_dir=tmp_path / "b").data_dir == tmp_path / "b"


def test_the_key_lives_in_the_data_folder_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EARMARK_KEY_FILE", raising=False)
    assert Settings(data_dir=tmp_path).key_path == tmp_path / "keys" / "watermark.key"


def test_the_database_password_is_masked(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url="postgresql://user:hunter2@host/db")
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_body_bytes": 0},
        {"num_workers": 0},
        {"max_duration_s": -1},
        {"no_such_setting": 1},
        {"device": "tpu"},
        {"chat_streams": 0},
        {"chat_waiting": -1},
        {"chat_session_s": 0},
    ],
)
def test_a_value_that_does_not_fit_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)


def test_settings_are_frozen(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        Settings(data_dir=tmp_path).max_body_bytes = 5  # type: ignore[misc]


def test_root_does_not_use_its_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's unprivileged account cannot pass through a home of mode 0700."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_data_dir() == ROOT_DATA_DIR
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert default_data_dir().name == "earmark"
