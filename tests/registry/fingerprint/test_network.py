"""The network's contract: shape, norm, size, refusal."""

import numpy as np
import pytest
import torch

from audio.bfloat16 import multiplies_bfloat16
from registry.fingerprint.network import EMBEDDING_WIDTH, FingerprintNetwork
from registry.fingerprint.windows import Fingerprinter


def test_embeddings_are_unit_vectors_of_128() -> None:
    """Cosines are computed as inner products everywhere."""
    torch.manual_seed(0)
    emb_BD = FingerprintNetwork()(torch.randn(3, 2, 64, 64))
    assert emb_BD.shape == (3, EMBEDDING_WIDTH)
    assert torch.allclose(emb_BD.norm(dim=1), torch.ones(3), atol=1e-5)


def test_the_network_is_as_large_as_its_card_says() -> None:
    """The speed figures hold for this size."""
    assert sum(p.numel() for p in FingerprintNetwork().parameters()) == 1_904_672


def test_rows_of_a_batch_do_not_see_each_other() -> None:
    """A batch statistic would make a code depend on what was embedded beside it."""
    torch.manual_seed(0)
    network, pictures = FingerprintNetwork(), torch.randn(4, 2, 64, 64)
    with torch.no_grad():
        alone, together = network(pictures[:1]), network(pictures)[:1]
    assert torch.allclose(alone, together, atol=1e-5)


def test_a_picture_of_another_size_is_refused() -> None:
    """A shorter picture would fit the convolutions and give a wrong grid."""
    with pytest.raises(ValueError, match="2 x 64 x 64"):
        FingerprintNetwork()(torch.zeros(1, 2, 64, 63))


def test_the_narrowed_network_gives_nearly_the_same_embeddings() -> None:
    """Registries are written by one processor and read by another: cosines of 0.9999 and more, where the
    mildest codec leaves 0.98."""
    wide = Fingerprinter.load(precision="float32")
    narrow = Fingerprinter.load(precision="bfloat16")
    wav_T = np.random.default_rng(0).standard_normal(72_000).astype(np.float32)
    cosines = (wide.embed(wav_T, 2_880) * narrow.embed(wav_T, 2_880)).sum(axis=1)
    assert cosines.min() > 0.9999
    assert cosines.max() < 1.00001
    assert (cosines != 1).any()  # they are two computations


def test_a_narrowed_embedding_does_not_depend_on_what_stands_beside_it() -> None:
    """Nor on how many: a query cuts its rows into batches by its length."""
    torch.manual_seed(0)
    network, pictures = FingerprintNetwork().narrowed(), torch.randn(7, 2, 64, 64)
    with torch.inference_mode():
        together = network(pictures)
        for count in (1, 2, 6):
            assert torch.allclose(network(pictures[:count]), together[:count], atol=1e-6)


def test_narrowing_leaves_the_network_as_it_was() -> None:
    network = FingerprintNetwork()
    network.narrowed()
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_a_processor_that_cannot_say_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    assert not multiplies_bfloat16()
    assert Fingerprinter.load().precision == "float32"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    assert Fingerprinter.load().precision == "bfloat16"
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not multiplies_bfloat16()
