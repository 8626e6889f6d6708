"""Whether each part works now: what `GET /readyz` answers, to anyone.

So it says which part does not work, and neither where files lie nor what the database is called: why is in
the service's own log. A part that is asked and fails in whatever way is not ready; asking never fails.
Not here: the model and the voice, which whoever holds them answers for."""

import logging
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

from api.access.secret import ServerSecret
from registry.log import LogFiles
from registry.log.signer import load_key
from watermark import Key

if TYPE_CHECKING:
    from api.service import Service

log = logging.getLogger(__name__)


class _NotReady(Exception):
    """A part answered, and what it said is not good enough."""


def checks(service: "Service") -> dict[str, str]:
    """Each part's name with "ok" or with what is wrong."""
    return {name: _answer(service, name, works, words) for name, (works, words) in _PARTS.items()}


def _answer(service: "Service", name: str, works: Callable[["Service"], None], words: str) -> str:
    try:
        works(service)
    except Exception as exc:
        log.warning("not ready: %s: %s", name, exc)
        return words
    return "ok"


def _keys_are_there(service: "Service") -> None:
    """They were loaded once. Gone or replaced they would be missed at the next start, which makes new ones:
    then no mark that was put on before is read, and no key of a caller is known."""
    settings = service.settings
    if Key.load(settings.key_path).key_id != service.key_id:
        raise _NotReady(f"{settings.key_path} is another watermark key than the one in use")
    if ServerSecret.load(settings.server_secret_path) != service.secret:
        raise _NotReady(f"{settings.server_secret_path} is another secret than the one in use")
    path = LogFiles.in_folder(settings.data_dir, settings.log_signed_file).key
    if load_key(path).verifier != service.registry.log.key.verifier:
        raise _NotReady(f"{path} is another key of the log than the one in use")


def _database_answers(service: "Service") -> None:
    service.registry.generations(limit=1)


def _index_follows(service: "Service") -> None:
    service.registry.index.catch_up()


def _log_takes_entries(service: "Service") -> None:
    service.registry.log.checkpoint()
    service.registry.log.signer.last_signed()


def _disks_have_room(service: "Service") -> None:
    settings = service.settings
    signed = LogFiles.in_folder(settings.data_dir, settings.log_signed_file).signed
    data = settings.data_dir if settings.data_dir.is_dir() else settings.key_path.parent
    for folder in (data, signed.parent):
        if (free := shutil.disk_usage(folder).free) < settings.min_free_disk_bytes:
            raise _NotReady(
                f"{folder} has {free / 1e6:.0f} MB free of {settings.min_free_disk_bytes / 1e6:.0f}"
            )


_PARTS: dict[str, tuple[Callable[["Service"], None], str]] = {
    "key": (
        _keys_are_there,
        "a key file is gone, unreadable or another one: restore it before the service is started again",
    ),
    "database": (_database_answers, "the database does not answer"),
    "index": (_index_follows, "the index does not follow the database: the service's own log says why"),
    "log": (_log_takes_entries, "it takes no entries: the service's own log says why"),
    "disk": (_disks_have_room, "less room than EARMARK_MIN_FREE_DISK_BYTES is free"),
}
