"""Retrieval scores are the same numbers wherever they are computed."""

import pytest
import torch

from toolkit.imsat.hamming import hamming_distances, pack_codes
from toolkit.imsat.retrieval import evaluate_retrieval

DEVICES = [
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
    ),
    "cpu",
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("ties", ["expected", "order"])
@pytest.mark.parametrize("n_bits", [7, 16, 64, 300])
def test_scores_do_not_depend_on_the_device(n_bits, ties, device):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (3020,), generator=generator)
    codes = torch.rand(3020, n_bits, generator=generator) < 0.5
    here = (codes[:20], labels[:20], codes[20:], labels[20:])
    there = tuple(part.to(device) for part in here)
    expected = evaluate_retrieval(*here, ties=ties).to_dict()
    assert evaluate_retrieval(*there, ties=ties).to_dict() == expected
    assert evaluate_retrieval(*here, ties=ties, device=device).to_dict() == expected
    distances = hamming_distances(pack_codes(there[0]), pack_codes(there[2]))
    assert distances.device.type == device
    assert torch.equal(distances.cpu().long(), (here[0][:, None] != here[2]).sum(-1))
