"""A fork is found wherever it is, and only there."""

from tests.manifests.judging import Chain, disagreements


def chain(node: str, *blocks: str) -> Chain:
    return Chain(node, {n: (block, f"state {block}") for n, block in enumerate(blocks, 1)}, 0)


def test_chains_of_different_length_agree() -> None:
    assert disagreements([chain("a", "x", "y"), chain("b", "x"), chain("c", "x", "y", "z")]) == []


def test_different_blocks_or_states_of_one_round_are_a_fork() -> None:
    found = disagreements([chain("a", "x", "y"), chain("b", "x", "q", "r"), chain("c", "x")])
    assert len(found) == 1
    assert all(word in found[0] for word in ("fork", "a", "b", "round 2"))

    odd = Chain("d", {1: ("x", "another state")}, 0)
    assert len(disagreements([chain("a", "x"), odd])) == 1
