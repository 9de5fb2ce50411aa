"""What the tests of several explorers share."""

import pytest
import torch

from toolkit.explorers.hash_runs import ITQ, PLAIN, VAT, HashRuns, make_code


@pytest.fixture(scope="session")
def small_hash_runs():
    """Made-up codes of 7 bits: three classes, two queries each, 60 images; nothing is trained."""
    generator = torch.Generator().manual_seed(0)
    query_labels, gallery_labels = torch.arange(3).repeat_interleave(2), torch.arange(60) % 3
    codes = {}
    for method, noise in ((VAT, 0.5), (PLAIN, 3.0), (ITQ, 1.0)):
        centres = torch.randn(3, 7, generator=generator, dtype=torch.float64)
        queries, gallery = (
            centres[labels] + noise * torch.randn(len(labels), 7, generator=generator, dtype=torch.float64)
            for labels in (query_labels, gallery_labels)
        )
        logits = None if method == ITQ else gallery
        codes[method] = make_code(method, queries > 0, gallery > 0, query_labels, gallery_labels, logits)
    images = torch.rand(66, 5, 4, generator=generator, dtype=torch.float64)
    names = ("zero", "one", "two")
    return HashRuns(images[:6], query_labels, images[6:], gallery_labels, names, codes, 1)
