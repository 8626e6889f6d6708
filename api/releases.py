"""Log which detectors judge from here on: an old verdict can be understood only with the detector of its day.

When the detectors that this version ships differ from those of the newest `detector-release` entry, one more
is logged: names, versions, hashes of weights, thresholds of agreement, and how often each was measured to err
(api/measured.py): a new measurement is a new entry, too. Each result carries the index of that entry. Two
processes that start at once may both log the same release; either index is right.
"""

import json
import logging
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from api import agreement, measured
from api.measured import Measured
from api.schemas import Detection, Technique
from registry import Registry, RegistryError
from registry.log import Kind
from registry.matching import ACCEPT_BELOW, PITCHES, PLAIN_SHARE
from registry.null import Null
from watermark import Detector, issued
from watermark.keyed.detect import MAX_FALSE_ALARM_PROBABILITY

if TYPE_CHECKING:
    from watermark.audioseal.detect import PublicDetector

log = logging.getLogger(__name__)


def log_release(registry: Registry, detector: Detector) -> int | None:
    """The log index of the release that judges now, logged first when it is new.

    None when the log takes no entry now, which is logged as an error: detection goes on and its results carry
    no index; whatever needs a receipt is refused by itself.
    """
    release = describe(registry, detector)
    try:
        newest = registry.log.newest(Kind.DETECTOR_RELEASE)
        if newest is not None and newest.log_index is not None and _said(newest.leaf) == release:
            return newest.log_index
        return registry.log.state(Kind.DETECTOR_RELEASE, release).log_index
    except RegistryError as exc:
        log.error("this detector release is not logged: %s", exc)
        return None


def stamped(detection: Detection, log_index: int | None) -> Detection:
    """The same result, each detector with the log entry of its release."""
    rows = [
        row.model_copy(update={"detector": row.detector.model_copy(update={"log_index": log_index})})
        for row in detection.evidence
    ]
    return detection.model_copy(update={"evidence": rows})


def describe(registry: Registry, detector: Detector) -> dict[str, Any]:
    """What a release is: everything that decides between two verdicts, how often chance passes, and how much
    is missed."""
    null, fingerprinter = Null.load(), registry.fingerprinter
    public = [_public(detector.public)] if detector.public else []
    return {
        "software": {"name": "earmark", "version": version("earmark")},
        "detectors": [
            {
                "technique": Technique.WATERMARK_KEYED.value,
                "name": detector.name,
                "version": detector.version,
                "weights_sha256": detector.weights_sha256,
                "max_false_alarm_probability": MAX_FALSE_ALARM_PROBABILITY,
                "max_false_name_probability": issued.MAX_FALSE_ALARM_PROBABILITY,
                "measured": Measured.load(measured.READER).as_json(),
            },
            *public,
            {
                "technique": Technique.FINGERPRINT.value,
                "version": fingerprinter.version,
                "weights_sha256": fingerprinter.weights_sha256,
                "max_false_alarm_probability": ACCEPT_BELOW,
                "pitches": list(PITCHES),
                "plain_share": PLAIN_SHARE,
                "measured_false_alarms": {
                    "num_negatives": null.num_negatives,
                    "share_below_p": dict(null.share_below_p),
                },
                "measured": Measured.load(measured.FINGERPRINT).as_json(),
            },
        ],
        "agreement": {
            "clear": agreement.CLEAR,
            "unlike": agreement.UNLIKE,
            "min_to_deny_s": agreement.MIN_TO_DENY_S,
            "whole": agreement.WHOLE,
        },
    }


def _public(public: "PublicDetector") -> dict[str, Any]:
    return {
        "technique": Technique.WATERMARK_PUBLIC.value,
        "name": public.name,
        "version": public.version,
        "weights_sha256": public.weights_sha256,
        "max_false_alarm_probability": public.max_false_alarm_probability,
        "measured_false_alarms": {"num_negatives": public.null.num_negatives},
    }


def _said(leaf: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(leaf)
    return {name: value for name, value in fields.items() if name not in ("v", "kind", "at")}
