"""Training of the fingerprint network: `run(TrainConfig(...), print)`, then calibration, then publication.

Nothing here is imported by the service.
"""

from registry.fingerprint.train.loop import TrainConfig
from registry.fingerprint.train.publish import run

__all__ = ["TrainConfig", "run"]
