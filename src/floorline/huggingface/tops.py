"""What stands on top of a decoder: logits over the vocabulary, or what the class in ``architectures`` has instead.

A reward model, an embedding model and a reranker are decoders whose ``config.json`` names another class: they store no
vocabulary head, and do not compute one.

Source: transformers, modeling_layers.py (GenericForSequenceClassification, GenericForTokenClassification,
GenericForQuestionAnswering).
"""

from __future__ import annotations

from floorline.blocks.embedding import final_norm, head
from floorline.blocks.heads import Dense, on_tokens
from floorline.blocks.norm import Norm
from floorline.errors import BadInput
from floorline.huggingface.config import Config
from floorline.huggingface.encoders import LABELS, labels
from floorline.transformer import Stack

LOGITS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "ForImageTextToText")
SCORE = Dense(name="labels", to="L", bias=False)
CLASSIFIERS = {"ForSequenceClassification": SCORE, "ForTokenClassification": LABELS, "ForQuestionAnswering": LABELS}
KINDS = (*LOGITS, *CLASSIFIERS, "Model")


def kind(config: Config) -> str:
    """What the class adds to the family's name; a language model where none is named, or inside a larger model.

    raises BadInput for a class that is none of these

    >>> kind(Config({"architectures": ["Qwen3ForSequenceClassification"]}, "reranker"))
    'ForSequenceClassification'
    """
    named = config.get("architectures")
    if config.inner or not isinstance(named, list) or not named:
        return LOGITS[0]
    found = [end for end in KINDS if str(named[0]).endswith(end)]
    if not found or str(named[0]).endswith("DoubleHeadsModel"):
        raise BadInput(
            f"{config.name}: architectures names {str(named[0])[:60]!r}, which is not read; expected a class that ends in one of "
            f"{', '.join(KINDS)}"
        )
    return found[0]


def top(config: Config, norm: Norm | None, *, tied: bool, bias: bool = False, narrowed: str = "") -> tuple[Stack, ...]:
    """The stacks after the last layer.

    norm      the last one; None where the layers end with one
    tied      whether the head of a language model reads the token table
    bias      of its logits
    narrowed  letter of the token table's own width, where it is not the model's

    >>> [stack.block.name for stack in top(Config({"architectures": ["LlamaModel"]}, "embeddings"), None, tied=True)]
    []
    """
    what = kind(config)
    if what in LOGITS:
        return (Stack(head(tied=tied, norm=norm, bias=bias, narrowed=narrowed), tokens=(("T", "O"),)),)
    if narrowed:
        raise BadInput(f"{config.name}: a {what} on a narrower token table is not read; expected a language model")
    last = (Stack(final_norm(norm)),) if norm else ()
    if what == "Model":
        return last
    count = 2.0 if what == "ForQuestionAnswering" else labels(config)
    return (*last, Stack(on_tokens(CLASSIFIERS[what]), sizes={"L": count}))
