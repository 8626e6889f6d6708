"""Settings of the service: one frozen value, built once at the edge and passed down.

Read from the environment (`EARMARK_DATA_DIR`, `EARMARK_DATABASE_URL`, `EARMARK_KEY_FILE`, and so on, one
for each field); an argument wins over the environment. Secrets have no default and a masked repr. Building
settings reads and writes no file."""

import os
import sys
from pathlib import Path
from typing import Literal

from platformdirs import user_data_path
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT_DATA_DIR = Path("/var/lib/earmark")


def default_data_dir() -> Path:
    """The platform's user data folder; for root on Linux `/var/lib/earmark`.

    PostgreSQL refuses to run as root, so root's embedded server runs as an unprivileged user, which cannot
    pass through root's home (mode 0700) to a folder inside it."""
    if sys.platform == "linux" and os.geteuid() == 0:
        return ROOT_DATA_DIR
    return user_data_path("earmark", appauthor=False)


class Settings(BaseSettings):
    """Everything an operator may choose. Raises pydantic's ValidationError for a value that does not fit."""

    model_config = SettingsConfigDict(env_prefix="EARMARK_", extra="forbid", frozen=True)

    data_dir: Path = Field(default_factory=default_data_dir)
    """Where the key, the embedded database and the index live; made on first use."""

    database_url: SecretStr | None = None
    """Another PostgreSQL (15 or newer) in place of the embedded one; may hold a password, hence masked."""

    key_file: Path | None = None
    """The watermark key; None: `keys/watermark.key` in the data folder. Made on first use with mode 0600."""

    public_weights: Path | None = None
    """File of a public mark (`earmark watermark convert`, `earmark train watermark`), which is then put on
    all speech beside the keyed one, and looked for. None: there is no public mark."""

    log_signed_file: Path | None = None
    """The record of the last tree that the log signed; None: `keys/log.signed` in the data folder. On another
    disk than the data folder it also tells when the whole folder came back from an old backup."""

    max_body_bytes: int = Field(default=25_000_000, ge=1)
    """Largest request body, counted as it arrives; about 4.3 minutes of 16-bit mono at 48 kHz."""

    max_duration_s: float = Field(default=300.0, gt=0)
    """Longest audio that is decoded."""

    max_decoded_bytes: int = Field(default=128 * 2**20, ge=1)
    """Largest decoded audio, float32 of all channels at the file's own rate: 300 s of stereo at 48 kHz is
    115 MB."""

    upload_timeout_s: float = Field(default=60.0, gt=0)
    """A body that has not arrived by then is refused, so that slow senders do not hold the places of
    others."""

    num_workers: int = Field(default=3, ge=1)
    """Requests worked on at once: one more than two cores compute, since one of them waits for its decoder or
    the database. At least two, so that a long file does not hold up a short one."""

    max_waiting: int = Field(default=8, ge=0)
    """Requests admitted beyond those worked on; with the body limit this bounds memory to 250 MB of
    uploads."""

    retry_after_s: int = Field(default=2, ge=1)
    """What a client is told to wait when the service is full."""

    torch_threads: int = Field(default=1, ge=1)
    """Threads of one computation, of a mark, a fingerprint or the model; the workers above already use the
    other cores, and more lose much beside other programs. A model that needs two cores for real time needs 2
    here."""

    model: str | None = None
    """What speaks on /api/chat: a folder with a checkpoint, or a name on the Hugging Face hub. None: nothing
    does."""

    voice: str | None = None
    """What says texts on POST /v1/generations: `mini`, or a folder with a voice. Loaded beside `model`, in
    float32 on a CPU. None: nothing does."""

    voice_waiting: int = Field(default=8, ge=0)
    """Texts that may wait until the voice is free."""

    device: Literal["cpu", "cuda", "mps"] = "cpu"
    """Where the model computes."""

    precision: Literal["float32", "bfloat16", "int8"] | None = None
    """Of the language model's weights; None: the file's. int8 halves the memory of bfloat16."""

    chat_streams: int = Field(default=1, ge=1)
    """Conversations at once: batch rows of the one model, which all take memory whether used or not."""

    chat_waiting: int = Field(default=8, ge=0)
    """Clients that may wait for a conversation; whoever comes after them is told to come back."""

    chat_needs_key: bool = False
    """Whether a conversation needs an API key with the scope `generate`, which the published clients cannot
    send."""

    chat_session_s: float = Field(default=300.0, gt=0)
    """Longest conversation. The published model's own context is 240 s; past it quality falls."""

    min_free_disk_bytes: int = Field(default=200_000_000, ge=0)
    """Below this the service reports itself not ready: PostgreSQL must be able to write its log."""

    server_secret_file: Path | None = None
    """What API keys are digested under; None: `keys/server.secret` in the data folder. Made on first use with
    mode 0600, never given here as a value."""

    allow_anonymous_marks: bool = False
    """Whether POST /v1/marks takes requests without an API key; only for a machine that nobody else
    reaches."""

    requests_per_minute_key: int = Field(default=600, ge=1)
    requests_per_minute_address: int = Field(default=30, ge=1)
    requests_per_minute_everyone: int = Field(default=1200, ge=1)
    """Rates in any 60 s: for each key, for each address without a key, and together; the last is what two
    cores can do. Health checks count nowhere."""

    wrong_keys_per_minute_address: int = Field(default=20, ge=1)
    """More wrong keys than this, and no key from that address is looked up until the minute is over."""

    near_duplicates_per_hour_key: int = Field(default=300, ge=1)
    near_duplicates_per_hour_address: int = Field(default=20, ge=1)
    """Distinct variants of nearly the same audio that one caller may ask about (api/access/budget.py)."""

    fetch_urls: bool = True
    """Whether detections fetch a file that a URL names; off, the service makes no outgoing connection."""

    fetch_timeout_s: float = Field(default=20.0, gt=0)
    """For the whole file, names and redirects included."""

    stop_timeout_s: int = Field(default=60, ge=1)
    """After SIGTERM, how long requests that have begun may take to end."""

    @property
    def location(self) -> Path | str:
        """Where the registry is: the URL of its database, or the data folder; may hold a password."""
        return self.database_url.get_secret_value() if self.database_url else self.data_dir

    @property
    def server_secret_path(self) -> Path:
        """Where the server's secret is read, and written on first use."""
        return self.server_secret_file or self.data_dir / "keys" / "server.secret"

    @property
    def key_path(self) -> Path:
        """Where the watermark key is read, and written on first use."""
        return self.key_file or self.data_dir / "keys" / "watermark.key"
