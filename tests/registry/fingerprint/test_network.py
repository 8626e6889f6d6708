"""The network's contract: shape, norm, size, refusal."""

import pytest
import torch

from registry.fingerprint.network import EMBEDDING_WIDTH, FingerprintNetwork


def test_embeddings_are_unit_vectors_of_128() -> None:
    """Cosines are computed as inner products everywhere."""
    torch.manual_seed(0)
    emb_BD = FingerprintNetwork()(torch.randn(3, 2, 64, 64))
    assert emb_BD.shape == (3, EMBEDDING_WIDTH)
    assert torch.allclose(emb_BD.norm(dim=1), torch.ones(3), atol=1e-5)


def test_the_network_has_about_a_third_of_a_million_parameters() -> None:
    """The speed figures hold for this size."""
    assert sum(p.numel() for p in FingerprintNetwork().parameters()) == 358_368


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
