"""What goes wrong in generation.

    GenerationError
    ├── CheckpointError      a file is missing, cut short, of another model, or says something unknown
    ├── FrameError           a chunk does not fit: wrong shape, or no whole number of frames
    ├── TrainingDataError    a tool, a text or a recording that training needs is missing or damaged
    ├── SpeechRequestError   this text, style or voice cannot be spoken
    ├── NoFreeStream         every row of the model is taken
    └── UnknownStream        that row is not open

Each message is one sentence that says what to do. Nothing has changed when one of these is raised.
"""


class GenerationError(Exception):
    """Base of everything that generation raises on purpose."""


class CheckpointError(GenerationError):
    """The weights or their configuration cannot be used."""


class FrameError(GenerationError):
    """Input that is not a whole number of frames of the right shape."""


class TrainingDataError(GenerationError):
    """Training data cannot be made or read: install what the message names, or name another folder."""


class SpeechRequestError(GenerationError):
    """What was asked to be said cannot be: ask for something else."""


class NoFreeStream(GenerationError):
    """All rows are taken: close one, or wait."""


class UnknownStream(GenerationError):
    """No stream is open on that row."""
