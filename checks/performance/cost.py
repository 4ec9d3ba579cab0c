"""Which way of scoring a question costs the server less: echo, or named tokens over a tree of the choices' tokens.

Costs are counted in tokens that the server computes.  An echoed prompt is computed whole, once for each choice, and its
log-probabilities cost a softmax over the vocabulary for every token.  A request for named tokens computes what its
prompt has beyond the blocks that the prefix cache holds already, and there is one for each node of the tree.  A wrong
guess costs time and changes no value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Ids = Sequence[int]


@dataclass(frozen=True)
class CostModel:
    """`block` is the prefix cache's block in tokens: 128 on a CPU, 16 on a GPU; the larger is the careful guess.

    `echo_price` is the price of an echoed token and `request_price` that of a request, in computed tokens; both were
    fitted to runs of a 135M model on two cores.
    """

    block: int = 128
    echo_price: float = 2.5
    request_price: float = 28.0

    def echo(self, context: Ids, endings: Sequence[Ids]) -> float:
        """The cost of echoing the whole prompt once for each ending."""
        return sum(self.echo_price * (len(context) + len(ending)) + self.request_price for ending in endings)

    def named(self, context: Ids, endings: Sequence[Ids], shared: int) -> float:
        """The cost of one request a node, `shared` tokens of the context having been asked about just before."""
        nodes = {tuple(ending[:place]) for ending in endings for place in range(len(ending))}
        root = len(context) - shared // self.block * self.block
        branches = sum((len(context) + len(node)) % self.block for node in nodes if node)
        return root + branches + self.request_price * len(nodes)

    def prefers_named(self, context: Ids, endings: Sequence[Ids], shared: int) -> bool:
        """Whether named tokens cost less than echo."""
        return self.named(context, endings, shared) < self.echo(context, endings)


def shared_length(one: Ids, other: Ids) -> int:
    """How many tokens two contexts begin with in common."""
    return next(
        (place for place, (left, right) in enumerate(zip(one, other, strict=False)) if left != right),
        min(len(one), len(other)),
    )
