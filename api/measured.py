"""How often a detector errs, as it was measured: what a `detector-release` entry of the log says of it.

    Measured.load(READER)          # of the keyed mark; FINGERPRINT: of the search

Each is a small file beside the weights, copied from docs/benchmarks.md when that is measured: counts, never
rates, so that everybody can work out an interval. It names the weights that were measured, which after a
retraining are not those that judge until the next measurement; whoever reads an entry compares the two.
"""

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from api.errors import MeasurementsError
from registry.fingerprint.windows import WEIGHTS
from watermark.keyed import reader

READER = reader.WEIGHTS.with_name("measured.json")
FINGERPRINT = WEIGHTS / "measured.json"

Probability = Annotated[str, Field(pattern=r"^0\.[0-9]*[1-9]$")]
"""As text: it names a row, and nothing is reckoned with it."""


class _Counts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FalseAlarms(_Counts):
    """Audio without what is looked for, and how much of it came to a p-value at most so small."""

    of: str = Field(min_length=1, description="What the audio was.")
    measured_on: date
    num_speakers: int | None = Field(ge=1, description="null: not counted.")
    num_negatives: int = Field(ge=1)
    num_at_most_p: dict[Probability, Annotated[int, Field(ge=0)]] = Field(min_length=1)

    @model_validator(mode="after")
    def _are_parts(self) -> Self:
        if max(self.num_at_most_p.values()) > self.num_negatives:
            raise ValueError("more false alarms than negatives")
        return self


class Found(_Counts):
    """Audio with it, after one edit of `audio.edits`, and how much of it was found at `max_p`."""

    edit: str = Field(min_length=1)
    measured_on: date
    clip_s: int = Field(ge=1)
    max_p: Probability
    num_clips: int = Field(ge=1)
    num_found: int = Field(ge=0, description="The others were missed.")

    @model_validator(mode="after")
    def _are_parts(self) -> Self:
        if self.num_found > self.num_clips:
            raise ValueError("more found than there were")
        return self


class Measured(_Counts):
    """What was measured of one detector."""

    weights_sha256: str = Field(pattern="^[0-9a-f]{64}$", description="Of the weights that were measured.")
    false_alarms: tuple[FalseAlarms, ...] = Field(min_length=1)
    found: tuple[Found, ...] = Field(min_length=1)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises MeasurementsError when the file is missing or damaged."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as exc:
            raise MeasurementsError(f"no measured error rates at {path}; reinstall earmark") from exc

    def as_json(self) -> dict[str, Any]:
        """The same as it stands in the file and in the log: texts, integers and null alone."""
        return self.model_dump(mode="json")
