"""What one micro-batch takes of a rank in one part of the model, forward and backward, and what is sent once a step for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from floorline import program
from floorline.expected import Expectation, Share
from floorline.host import starts
from floorline.implementations import implementation
from floorline.kernel_sizes import EXPERTS, SLOTS
from floorline.letters import Numbers
from floorline.num import Num, total
from floorline.op import Collective
from floorline.parallel import context
from floorline.program import Row
from floorline.specs.engine import Engine
from floorline.specs.precision import Precision
from floorline.step import Step
from floorline.tensor import GRADIENT, WEIGHT
from floorline.training.pricing import Pricing
from floorline.transformer import Stack

NOTHING = Expectation({}, 0.0, asked="training")


@dataclass(frozen=True, eq=False)
class Work:
    """One part of the model.

    forward   of one micro-batch, messages included
    dgrad     of its backward pass, what does not make gradients of weights, with what is computed again
    wgrad     what makes these
    reduced   sums of weights' gradients over ranks, once
    gathered  weights that were updated in shares, once
    forward_starts, backward_starts  operators that the host starts [-]
    """

    forward: Expectation = NOTHING
    dgrad: Expectation = NOTHING
    wgrad: Expectation = NOTHING
    reduced: Expectation = NOTHING
    gathered: Expectation = NOTHING
    forward_starts: Num = 0.0
    backward_starts: Num = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.forward + other.forward,
            self.dgrad + other.dgrad,
            self.wgrad + other.wgrad,
            self.reduced + other.reduced,
            self.gathered + other.gathered,
            self.forward_starts + other.forward_starts,
            self.backward_starts + other.backward_starts,
        )

    def times(self, count: Num) -> Work:
        """So many of it."""
        return Work(
            self.forward.times(count),
            self.dgrad.times(count),
            self.wgrad.times(count),
            self.reduced.times(count),
            self.gathered.times(count),
            self.forward_starts * count,
            self.backward_starts * count,
        )

    @property
    def once(self) -> Expectation:
        """One micro-batch, there and back."""
        return self.forward + self.dgrad + self.wgrad

    @property
    def seconds(self) -> Num:
        """The same [s]."""
        return self.forward.seconds + self.dgrad.seconds + self.wgrad.seconds


@dataclass
class Tally:
    """Shares added up by kind."""

    kinds: dict[str, Share] = field(default_factory=dict)

    def add(self, kind: str, share: Share) -> None:
        """Add one."""
        self.kinds[kind] = self.kinds[kind] + share if kind in self.kinds else share

    @property
    def whole(self) -> Expectation:
        """All of it."""
        return Expectation(dict(self.kinds), 0.0, asked="training")


def group(sent: Collective) -> str:
    """What a breakdown calls a message: by the parallelism that it belongs to, or by what is sent.

    weights' gradients and gathered weights are told apart from activations, whatever ranks they go over
    """
    if sent.routed:
        return "expert messages"
    role = sent.inputs[0].role
    if role in (WEIGHT, GRADIENT):
        return "gradient messages" if role == GRADIENT else "weight messages"
    return GROUPS.get(sent.axes[0][:2], "data messages")


GROUPS = {"tp": "tensor messages", "cp": "context messages", "et": "tensor messages", "ep": "expert messages"}
"""First letters of a mesh axis → the group's messages."""


def work(
    step: Step,
    stack: Stack,
    numbers: Numbers,
    fusion: str,
    policy: str,
    price: Pricing,
    engine: Engine,
    known: frozenset[str],
) -> Work:
    """What one run of a stack's block takes.

    fusion  an implementation
    policy  what is recomputed
    price   how launches and messages are priced
    engine  whose host starts them
    known   weights of the whole model that another part has sent already
    """
    ahead, back, after = program.training(stack.block, implementation(fusion), step.cut(stack), policy, known)
    each = step.parallelism.zero_stage in ("2", "3")  # gradients go to their shares in each micro-batch
    forward, dgrad, wgrad, reduced, gathered = Tally(), Tally(), Tally(), Tally(), Tally()
    precision = step.precision
    for row in back:
        compute(row, numbers, price, wgrad if row.name.endswith("wgrad") else dgrad)
    for row in ahead:
        compute(row, numbers, price, forward)
    send([row for row in ahead if row.message], numbers, precision, price, forward)
    send([row for row in back if row.message and not reduces(row)], numbers, precision, price, dgrad)
    send([row for row in back if reduces(row)], numbers, precision, price, dgrad if each else reduced)
    send(after, numbers, precision, price, gathered)
    begun = [total(starts(row, numbers, engine) for row in rows if not reduces(row)) for rows in (ahead, back)]
    return Work(forward.whole, dgrad.whole, wgrad.whole, reduced.whole, gathered.whole, *begun)


def reduces(row: Row) -> bool:
    """Whether a row sums gradients of weights over ranks."""
    return row.message is not None and row.message.inputs[0].role == GRADIENT


def compute(row: Row, numbers: Numbers, price: Pricing, tally: Tally) -> None:
    """Add a launch to a tally; messages are added elsewhere."""
    if row.message is None:
        for kind, share in price.launch(row, numbers):
            tally.add(kind, share)


def send(rows: Iterable[Row], numbers: Numbers, precision: Precision, price: Pricing, tally: Tally) -> None:
    """Add messages to a tally: weights, and gradients of weights, that go the same way are one message for a layer, as frameworks
    keep them in one buffer, those that no context rank has a part of too; what each token's experts weigh goes with the token."""
    together: dict[object, tuple[Collective, Num]] = {}
    for row in rows:
        sent = row.message
        assert sent is not None
        if sent.routed and not set(sent.message.letters) - {EXPERTS, SLOTS}:
            continue
        tensor = sent.inputs[0]
        alone = tensor.role not in (WEIGHT, GRADIENT)
        ways = tuple(axis for axis in sent.axes if alone or axis not in context.AXES)
        key = (sent.kind, ways, tensor.role, row.name if alone else "")
        buffer, _ = program.message_size(sent, numbers, precision)
        widest, before = together.get(key, (sent, 0.0))
        together[key] = (max(widest, sent, key=lambda one: len(one.axes)), before + buffer)
    for sent, buffer in together.values():
        tally.add(group(sent), price.message(sent, numbers, buffer))
