"""A named tensor: what it is called, over which letters it runs, and what role it plays."""

from __future__ import annotations

from dataclasses import dataclass

WEIGHT, ACTIVATION, CACHE, TOKENS, GRADIENT = "weights", "activations", "kv_cache", "tokens", "gradients"


@dataclass(frozen=True)
class Tensor:
    """One name is one tensor: it is stored, saved, gathered and reduced once.

    name     "Wq" (a name that begins with W is a weight; a leading / makes it the whole model's), "h", "kc"
    letters  its dimensions, such as "BTD"
    role     weights, activations, kv_cache, tokens or gradients: which of the run's formats it has
    format   a format of its own ("fp32" statistics in a bf16 run), or "" for its role's
    copy_of  the tensor that this is a cast of: no copy at all where both formats are the same
    touched  share of it that is read, a number or expression over letters ("min(B*T/V, 1)"), or "" for all of it
    frozen   of a weight, whether training leaves it as it is: it has no gradient

    >>> Tensor.of("/We", "VD").role
    'weights'
    """

    name: str
    letters: str
    role: str = ACTIVATION
    format: str = ""
    copy_of: str = ""
    touched: str = ""
    frozen: bool = False

    @staticmethod
    def of(name: str, letters: str, role: str = "", touched: str = "") -> Tensor:
        """A tensor whose role follows from its name, unless one is given."""
        guessed = WEIGHT if name.lstrip("/").startswith("W") else ACTIVATION
        return Tensor(name, letters, role or guessed, touched=touched)

    @property
    def is_weight(self) -> bool:
        """Whether this is a parameter of the model."""
        return self.role == WEIGHT

    @property
    def is_trained(self) -> bool:
        """Whether this is a parameter that has a gradient."""
        return self.is_weight and not self.frozen

    @property
    def is_shared(self) -> bool:
        """Whether this is one tensor for the whole model, such as a head tied to the embedding."""
        return self.name.startswith("/")

    def gradient(self) -> Tensor:
        """The gradient of the loss by this tensor: ``dq`` for ``q``, ``dWq`` for ``Wq``."""
        role = GRADIENT if self.is_weight else ACTIVATION
        name = f"/d{self.name[1:]}" if self.is_shared else f"d{self.name}"
        return Tensor(name, self.letters, role)

    def __str__(self) -> str:
        return f"{self.name}[{self.letters}]"
