"""Every statement of the paper that the lesson tries holds on our engine, and the measuring would notice if not."""

import numpy as np

from toolkit.explorers.chainer_claims import _bytes_held, claims_table, try_claims
from toolkit.explorers.dynamic_graphs import SHOWN, call
from toolkit.explorers.naive_tape import Tensor


def test_all_hold():
    claims = try_claims()
    assert len(claims) == 6 and all(claim.holds for claim in claims), claims
    assert {claim.section for claim in claims} == {"2", "3.1", "4.1", "4.2", "4.2.1"}


def test_the_table_says_so():
    shown = claims_table()
    assert len(shown.rows) == 6 and all(row[-1] == "yes" for row in shown.rows)
    assert repr(shown) == repr(claims_table()), "the same every time"


def test_a_cycle_would_be_seen():
    x = Tensor(np.ones(1000))
    held, left = _bytes_held(x.tanh)
    assert held == left >= 8000


def test_the_claim_counts_the_nodes_that_the_explorer_shows():
    seen = try_claims()[0].seen
    sizes = [len(call(index, 0.9).graph.nodes) for index in range(SHOWN)]
    assert f"of {min(sizes)} to {max(sizes)} nodes" in seen and f"{SHOWN} digits" in seen
