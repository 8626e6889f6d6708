"""One file for a public mark: both networks, their shape, and the null that its answers are calibrated by.

    public_mark.safetensors    generator.KEY, detector.KEY; metadata: format, config and null as JSON, origin

Whoever changes a byte changes `sha256`, which every answer states. A file is written whole or not at all.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from audio.durable import write_durably
from watermark.audioseal.config import SealConfig
from watermark.audioseal.network import AudioSealDetector, AudioSealWM, build_detector, build_generator
from watermark.audioseal.null import Null
from watermark.errors import WeightsError

FORMAT = "earmark-public-mark-1"


@dataclass(frozen=True)
class PublicWeights:
    """Networks that are ready to run, for reading only."""

    config: SealConfig
    generator: AudioSealWM
    detector: AudioSealDetector
    null: Null
    origin: str  # where the weights came from, in words
    sha256: str  # of the file

    @classmethod
    def load(cls, path: Path) -> "PublicWeights":
        """Read a file that `write` wrote. Raises WeightsError when it is missing, foreign or damaged."""
        try:
            content = path.read_bytes()
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
            if header["format"] != FORMAT:
                raise KeyError("format")
            fields = json.loads(header["config"])
            config = SealConfig(**fields | {"ratios": tuple(fields["ratios"])})
            null = json.loads(header["null"])
            tensors = load(content)
            generator, detector = build_generator(config), build_detector(config)
            _fill(generator, tensors, "generator.")
            _fill(detector, tensors, "detector.")
        except OSError as exc:
            raise WeightsError(
                f"{path} cannot be read ({exc.strerror}); name a file of a public mark"
            ) from exc
        except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as exc:
            raise WeightsError(
                f"{path} is not a file of a public mark; make one with `earmark watermark convert` or "
                "`earmark train watermark`"
            ) from exc
        kept = Null(null["num_negatives"], tuple(null["quantiles"]), null["spread"])
        sha256 = hashlib.sha256(content).hexdigest()
        return cls(config, generator, detector, kept, header["origin"], sha256)


def write(path: Path, config: SealConfig, networks: Mapping[str, nn.Module], null: Null, origin: str) -> None:
    """Write `generator` and `detector`; a crash leaves the file as it was, or none."""
    tensors = {
        f"{name}.{key}": value.contiguous()
        for name in ("generator", "detector")
        for key, value in networks[name].state_dict().items()
    }
    metadata = {
        "format": FORMAT,
        "config": json.dumps(asdict(config)),
        "null": json.dumps(asdict(null)),
        "origin": origin,
    }
    content = save(tensors, metadata)
    write_durably(path, lambda file: file.write(content))


def _fill(network: nn.Module, tensors: Mapping[str, Tensor], prefix: str) -> None:
    state = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    network.load_state_dict(state)
    network.eval().requires_grad_(False)
