"""What decides the shapes of a Moshi, and its tokens by name. `MoshiConfig()` is the published 7B model.

Rows of a frame's tokens, in this order: text; Moshi's audio, semantic first; the user's audio, semantic
first.
Source: Moshi (Defossez et al., 2024, sec. 3.4) and kyutai-labs/moshi, configs/moshi_7b_202409.json.
"""

from dataclasses import dataclass, field

from generation.streaming import TransformerConfig

ZERO_TOKEN = -1  # embedded as exactly 0: no input here
UNGENERATED = -2  # in an output: there is no token yet; in a forced text: sample it
TEXT_END_OF_PADDING = 0  # the next step begins a word
TEXT_BEGIN = 1
TEXT_END = 2
TEXT_PADDING = 3  # nothing new is said in this frame
SILENT_TEXT = (TEXT_END_OF_PADDING, TEXT_PADDING)  # never shown to a reader

PUBLISHED_TEMPORAL = TransformerConfig(
    dim=4096,
    num_layers=32,
    num_heads=32,
    feed_forward=16896,
    context=3000,  # 240 s
)


@dataclass(frozen=True)
class DepthConfig:
    """The depth transformer: the audio tokens of one frame, one after the other."""

    dim: int = 1024
    num_layers: int = 6
    num_heads: int = 16
    feed_forward: int = 4224
    norm: str = "rms_norm_f32"
    kv_repeat: int = 1
    schedule: tuple[int, ...] | None = None  # set of weights for each codebook; None: one set each
    low_rank: int | None = None  # width of its embeddings before they are projected; None: no projection
    own_projection: bool = True  # a map of its input for each set of weights; else one for all
    output_norm: str | None = None


@dataclass(frozen=True)
class MoshiConfig:
    """The language model at one size."""

    temporal: TransformerConfig = PUBLISHED_TEMPORAL
    depth: DepthConfig = field(default_factory=DepthConfig)
    text_vocabulary: int = 32_000
    text_outputs: int | None = None  # where the model speaks fewer text tokens than it reads
    audio_vocabulary: int = 2048
    num_audio: int = 16  # audio rows read
    num_spoken: int = 8  # audio rows written, the first ones
    delays: tuple[int, ...] = (0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1)  # frames, for each row
    num_extra_heads: int = 0
    extra_head_outputs: int = 6

    def __post_init__(self) -> None:
        if len(self.delays) != self.num_rows or min(self.delays) < 0:
            raise ValueError(f"{self.num_rows} rows need as many delays >= 0, not {self.delays}")
        if not 1 <= self.num_spoken <= self.num_audio:
            raise ValueError(f"{self.num_spoken} of {self.num_audio} audio rows cannot be spoken")
        schedule = self.depth.schedule
        if schedule is not None and len(schedule) != self.num_spoken:
            raise ValueError(f"the schedule names {len(schedule)} codebooks, {self.num_spoken} are spoken")

    @property
    def num_rows(self) -> int:
        """Text, Moshi's audio, the user's audio."""
        return 1 + self.num_audio

    @property
    def num_heard(self) -> int:
        """Audio rows that are only read: the user's."""
        return self.num_audio - self.num_spoken

    @property
    def max_delay(self) -> int:
        return max(self.delays)

    @property
    def text_initial(self) -> int:
        """The text token before the first frame."""
        return self.text_vocabulary

    @property
    def audio_initial(self) -> int:
        """The audio token before a row's first frame."""
        return self.audio_vocabulary

    @property
    def schedule(self) -> tuple[int, ...]:
        """The set of depth weights for each spoken codebook."""
        return self.depth.schedule or tuple(range(self.num_spoken))

    @property
    def depth_transformer(self) -> TransformerConfig:
        """The depth transformer as a stack of layers over the codebooks of a frame."""
        return TransformerConfig(
            dim=self.depth.dim,
            num_layers=self.depth.num_layers,
            num_heads=self.depth.num_heads,
            feed_forward=self.depth.feed_forward,
            context=self.num_spoken,
            norm=self.depth.norm,
            kv_repeat=self.depth.kv_repeat,
            max_period=None,
            num_weights=max(self.schedule) + 1,
        )
