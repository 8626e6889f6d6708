"""The mini voice's shapes, and how a run is set up."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from generation.mimi import MimiConfig
from generation.moshi import DepthConfig, MoshiConfig
from generation.moshi.conditions import ConditionConfig
from generation.streaming import TransformerConfig
from generation.train.codec.config import MINI
from generation.train.data.styles import NAMES
from generation.train.data.tokenizer import VOCABULARY

MINI_SPEECH = MoshiConfig(
    temporal=TransformerConfig(dim=256, num_layers=6, num_heads=4, feed_forward=1024, context=250),
    depth=DepthConfig(dim=128, num_layers=2, num_heads=4, feed_forward=512),
    text_vocabulary=VOCABULARY,
    audio_vocabulary=MINI.codebook_size,
    num_audio=8,  # its own speech alone
    num_spoken=8,
    delays=(0, 0, 1, 1, 1, 1, 1, 1, 1),
)
"""13 M parameters, of which 8.7 M are read in each frame."""

MINI_DIALOGUE = replace(MINI_SPEECH, num_audio=16, delays=(*MINI_SPEECH.delays, *MINI_SPEECH.delays[1:]))
"""The same with a user's eight rows: 2.1 M parameters more, all of them embeddings."""

CONDITION_DIM = 32


class Stage(StrEnum):
    """What a step trains on."""

    TEXT = "text"  # text alone: every speech row is empty
    JOINT = "joint"  # all voices by their hours; every text token counts
    SAY = "say"  # mostly one voice; of the text only when a word begins, for the words are given
    DIALOGUE = "dialogue"  # two people on a line, all of Moshi's text; the say stage goes on beside it


@dataclass(frozen=True)
class SpeechRun:
    """A run. Its stages follow each other, and steps count from the first one ever: a longer run goes on
    where a shorter one stopped."""

    data: Path  # what `earmark train data` made
    codec: Path  # codec.safetensors of `earmark train codec`, its codes frozen
    out: Path
    steps: dict[Stage, int] = field(default_factory=lambda: {Stage.SAY: 5_000})
    start: Path | None = None  # a model folder to begin with; a user's rows, if it has none, begin silent
    voice: str = "kathleen"
    voice_share: float = 0.9  # of the sentences of the say stage
    neutral_share: float = 0.7  # of them that are not in another style
    phases: int = 4  # of the voice's neutral recordings in their frames; each makes other codes of them
    scene_share: float = 0.25  # of the steps of the dialogue stage; the others are the say stage's
    others: tuple[str, ...] | None = None  # voices that are trained on besides; None: all there are
    styled: bool = True  # also on what is not neutral
    model: MoshiConfig = field(default_factory=lambda: MINI_SPEECH)
    mimi: MimiConfig = field(default_factory=lambda: MINI)
    lead_frames: int = 4  # by which text is ahead of its speech
    frames: int = 2_000  # in a step
    depth_share: float = 0.5  # of them that the depth transformer sees
    semantic_weight: float = 4.0  # of the first codebook's loss; an acoustic one has 1
    padding_weight: float = 0.5  # of text tokens that hold no text
    text_drop: float = 0.1  # of the sentences: text unseen, so that it can be guided
    noise: float = 0.9  # of a sentence's frames, at most: heard by the model as other ones than it said
    learning_rate: float = 1e-3
    warm_steps: int = 200
    averaging: float = 0.998  # kept, each step, of the running mean of the weights
    decay_share: float = 0.5  # of the steps, the last ones, over which the rate falls to a fiftieth
    report_steps: int = 500
    checkpoint_s: float = 300.0
    device: str = "cpu"
    threads: int = 1
    seed: int = 1

    def uses(self, voice: str, style: str) -> bool:
        """Whether speech is trained on. A run may go on with more than it began with."""
        told = voice == self.voice or self.others is None or voice in self.others
        return told and (self.styled or style == "neutral")

    @property
    def num_steps(self) -> int:
        return sum(self.steps.values())

    def stage(self, step: int) -> Stage:
        """Which stage a step belongs to."""
        for stage in Stage:
            step -= self.steps.get(stage, 0)
            if step < 0:
                return stage
        return Stage.SAY

    def rate(self, step: int) -> float:
        """The learning rate of a step: up, level, down."""
        warm = min(1.0, (step + 1) / self.warm_steps)
        left = (self.num_steps - step) / max(1.0, self.decay_share * self.num_steps)
        return self.learning_rate * warm * min(1.0, max(0.02, left))


def condition_configs(voices: tuple[str, ...]) -> dict[str, ConditionConfig]:
    """Who speaks, the model's own voice first, and how."""
    return {
        "voice": ConditionConfig(CONDITION_DIM, len(voices), voices),
        "style": ConditionConfig(CONDITION_DIM, len(NAMES), NAMES),
    }
