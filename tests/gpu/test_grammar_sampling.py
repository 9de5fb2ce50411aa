"""Documents drawn on a GPU: those of the CPU, for the same generator."""

import pytest
import torch

from toolkit.grammars.named import cfg3b, cfg3f, toy_family

DEVICES = [
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
    ),
    "cpu",
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("family", [cfg3b(), cfg3f(), toy_family()], ids=lambda family: family.name)
def test_a_generator_gives_the_same_documents_everywhere(device, family):
    here, there = (
        family.sample(500, device=d, generator=torch.Generator().manual_seed(0), return_trees=True)
        for d in ("cpu", device)
    )
    assert there.values.device.type == device and there.metadata.device.type == device
    assert torch.equal(here.values, there.values.cpu()) and torch.equal(here.offsets, there.offsets.cpu())
    assert torch.equal(here.metadata, there.metadata.cpu())
    assert torch.equal(here.padded(), there.padded().cpu())
    for one, other in zip(here.levels, there.levels, strict=True):
        assert torch.equal(one.symbols, other.symbols.cpu()) and torch.equal(one.parents, other.parents.cpu())
        assert torch.equal(one.alternatives, other.alternatives.cpu())


@pytest.mark.parametrize("device", DEVICES)
def test_a_generator_of_the_device_draws_there(device):
    family = cfg3f()
    documents = family.sample(20_000, device=device, generator=torch.Generator(device).manual_seed(0))
    spread = 69.382 / len(documents) ** 0.5
    assert abs(documents.n_tokens / len(documents) - float(family.expected_length())) < 5 * spread
    again = family.sample(20_000, device=device, generator=torch.Generator(device).manual_seed(0))
    assert torch.equal(documents.values, again.values)


@pytest.mark.parametrize("device", DEVICES)
def test_documents_are_drawn_where_their_metadata_are(device):
    metadata = toy_family().all_metadata.to(device)
    documents = toy_family().sample(8, metadata)
    assert documents.values.device.type == device and torch.equal(documents.metadata, metadata)
