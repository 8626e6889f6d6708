"""The replica: replay, numbering, snapshots that are refused, both kinds of Faiss index."""

import json
import uuid
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from registry.changelog import Change
from registry.errors import IndexUnavailable
from registry.index import WindowIndex
from registry.index.window_index import unit

WEIGHTS = "ab" * 32


def random_codes(num: int, seed: int) -> NDArray[np.int8]:
    emb_ND = np.random.default_rng(seed).standard_normal((num, 128))
    return np.rint(127 * emb_ND / np.linalg.norm(emb_ND, axis=1, keepdims=True)).astype(np.int8)


def change(
    position: int, ordinal: int, first_window: int = 0, num: int = 5, weights: str = WEIGHTS
) -> Change:
    informative_N = np.ones(num, np.bool_)
    informative_N[1::3] = False
    codes_ND = random_codes(num, seed=1000 * ordinal + first_window)
    return Change(position, ordinal, uuid.UUID(int=ordinal), first_window, codes_ND, informative_N, weights)


CHANGES = [change(2, 7), change(3, 9), change(5, 7, first_window=5), change(8, 12, num=40)]
BIG = [change(n + 1, n, num=150) for n in range(8)]  # 800 informative windows


def filled(changes: list[Change], **settings: int) -> WindowIndex:
    index = WindowIndex(**settings)
    index.apply(changes)
    return index


def test_a_stored_window_finds_its_generation_and_number() -> None:
    """The numbering skips silent windows and goes on across chunks of one generation."""
    index = filled(CHANGES)
    for stored in CHANGES:
        for row in np.flatnonzero(stored.informative_N):
            hits = index.search(unit(stored.codes_ND[row : row + 1]), 3)
            assert hits.scores_QK[0, 0] == pytest.approx(1.0, abs=1e-5)
            assert hits.ordinals_QK[0, 0] == stored.generation_ordinal
            assert hits.windows_QK[0, 0] == stored.first_window + row


def test_silent_windows_are_not_indexed() -> None:
    """They would be hubs."""
    index = filled(CHANGES)
    assert index.num_windows == sum(int(c.informative_N.sum()) for c in CHANGES)
    silent = CHANGES[3].codes_ND[~CHANGES[3].informative_N]
    assert index.search(unit(silent), 1).scores_QK.max() < 0.9


def test_replaying_again_adds_nothing() -> None:
    """Faiss knows no uniqueness, so the position is what makes a replay idempotent."""
    index = filled(CHANGES)
    index.apply(CHANGES)
    index.apply(CHANGES[1:])
    assert (index.position, index.num_windows) == (8, filled(CHANGES).num_windows)


def test_changes_out_of_order_are_refused_and_nothing_is_skipped() -> None:
    """A position applied early would hide the ones before it for good."""
    index = WindowIndex()
    with pytest.raises(ValueError, match="must rise"):
        index.apply([CHANGES[0], CHANGES[2], CHANGES[1]])
    assert index.position == 5
    assert index.num_windows == filled([CHANGES[0], CHANGES[2]]).num_windows


def test_codes_of_other_weights_are_passed_over_and_counted() -> None:
    """Cosines between two networks mean nothing."""
    index = filled([*CHANGES, change(9, 13, weights="cd" * 32)])
    assert (index.position, index.num_foreign) == (9, 3)
    assert index.num_windows == filled(CHANGES).num_windows


def test_an_empty_index_answers_with_nothing() -> None:
    """The first query of a new registry."""
    hits = WindowIndex().search(unit(random_codes(2, 0)), 4)
    assert hits.ordinals_QK.tolist() == [[-1] * 4] * 2


def test_fewer_windows_than_asked_for_are_filled_with_minus_one() -> None:
    """Faiss pads with row -1, which must not become the last generation."""
    hits = filled([change(1, 4, num=1)]).search(unit(random_codes(1, 5)), 3)
    assert hits.ordinals_QK.tolist() == [[4, -1, -1]]
    assert hits.windows_QK.tolist() == [[0, -1, -1]]


@pytest.mark.parametrize("exact_windows", [10_000, 500])
def test_a_rebuild_in_one_batch_equals_a_replay_in_small_ones(exact_windows: int) -> None:
    """Also where the compressed index begins in the middle of a batch."""
    query = unit(random_codes(6, 99))
    rebuilt, replayed = filled(BIG, exact_windows=exact_windows), WindowIndex(exact_windows=exact_windows)
    for one in BIG:
        replayed.apply([one])
    for left, right in zip(rebuilt.search(query, 10), replayed.search(query, 10), strict=True):
        assert np.array_equal(left, right)


def test_the_compressed_index_still_finds_what_is_stored() -> None:
    """Every stored window among its own ten best; approximate scores may reorder the top."""
    index = filled(BIG, exact_windows=500)
    assert not index.is_exact
    for stored in BIG:
        kept = np.flatnonzero(stored.informative_N)
        hits = index.search(unit(stored.codes_ND[kept]), 10)
        own = (hits.ordinals_QK == stored.generation_ordinal) & (hits.windows_QK == kept[:, None])
        assert own.any(axis=1).mean() >= 0.99


@pytest.mark.parametrize("exact_windows", [10_000, 500])
def test_a_snapshot_comes_back_as_it_was_and_goes_on(tmp_path: Path, exact_windows: int) -> None:
    """Save, load, replay the rest: the same as never having stopped."""
    first, rest = BIG[:6], BIG[6:]
    index = filled(first, exact_windows=exact_windows)
    index.save(tmp_path)
    loaded = WindowIndex.load(tmp_path)
    assert (loaded.position, loaded.num_windows) == (index.position, index.num_windows)
    index.apply(rest)
    loaded.apply(rest)
    query = unit(random_codes(6, 99))
    for left, right in zip(index.search(query, 10), loaded.search(query, 10), strict=True):
        assert np.array_equal(left, right)


def test_a_second_snapshot_replaces_the_first(tmp_path: Path) -> None:
    """Old data files are removed only once the manifest names the new ones."""
    index = filled(CHANGES[:2])
    index.save(tmp_path)
    index.apply(CHANGES)
    index.save(tmp_path)
    assert WindowIndex.load(tmp_path).position == 8
    assert len(list(tmp_path.iterdir())) == 5


def test_a_crash_between_data_and_manifest_leaves_the_old_snapshot(tmp_path: Path) -> None:
    """The state after step (1): new data files beside the old manifest."""
    index = filled(CHANGES[:2])
    index.save(tmp_path)
    old_manifest = (tmp_path / "manifest.json").read_bytes()
    old_files = {path.name: path.read_bytes() for path in tmp_path.glob("*.npy")}
    index.apply(CHANGES)
    index.save(tmp_path)
    (tmp_path / "manifest.json").write_bytes(old_manifest)
    for name, content in old_files.items():
        (tmp_path / name).write_bytes(content)
    assert WindowIndex.load(tmp_path).position == 3


def test_no_snapshot_is_told_from_a_bad_one(tmp_path: Path) -> None:
    """The caller logs the second and not the first."""
    with pytest.raises(FileNotFoundError):
        WindowIndex.load(tmp_path)


def test_every_damage_to_a_snapshot_is_refused(tmp_path: Path) -> None:
    """Truncated, changed or missing files, and a manifest that is not one."""
    filled(CHANGES).save(tmp_path)
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    damages: list[tuple[str, bytes | None]] = []
    for name, content in whole.items():
        damages += [(name, content[: len(content) // 2]), (name, b"")]
        if name != "manifest.json":
            damages += [(name, None), (name, content[:-1] + bytes([content[-1] ^ 1]))]
    damages += [("manifest.json", b"[]"), ("manifest.json", b'{"format": 1}')]
    for name, damaged in damages:
        for path, content in whole.items():
            (tmp_path / path).write_bytes(content)
        if damaged is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_bytes(damaged)
        with pytest.raises(IndexUnavailable):
            WindowIndex.load(tmp_path)


def test_a_snapshot_of_other_weights_or_another_format_is_refused(tmp_path: Path) -> None:
    """After a new release the old codes are not comparable."""
    filled(CHANGES).save(tmp_path)
    with pytest.raises(IndexUnavailable, match="other fingerprint weights"):
        WindowIndex.load(tmp_path, weights_sha256="cd" * 32)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"format": 2}))
    with pytest.raises(IndexUnavailable, match="format 2"):
        WindowIndex.load(tmp_path)


def test_a_disk_that_does_not_take_the_snapshot_is_one_error(tmp_path: Path) -> None:
    """Here the folder's name is taken by a file."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(IndexUnavailable, match="cannot be written"):
        filled(CHANGES).save(tmp_path / "taken")
