"""Every architecture goes through everything: times, memory, plans, training, arrays; none of it warns."""

import json

import numpy as np
import pytest

import floorline
from floorline import Encode, Generate, Parallelism, Prefill, Train, count, estimate, load_cluster, load_model
from floorline.counts import saved_bytes
from floorline.explain import explain_flops, explain_kv, explain_params
from floorline.specs.precision import Precision
from floorline.step import single
from floorline.transformer import Transformer
from oracle import configs

H100 = load_cluster("h100-sxm")
SOURCE = 32
BATCHES = np.array([1.0, 3.0, 64.0])
CONFIGS = configs()

every_model = pytest.mark.parametrize("name", CONFIGS)


def made(name: str) -> Transformer:
    """A model of the oracle; what its weights are stored in is another test's."""
    config = {k: v for k, v in json.loads(CONFIGS[name].read_text()).items() if k != "quantization_config"}
    return load_model({**config, "name": name})


def generates(model: Transformer) -> bool:
    """Whether it makes text; an encoder does not."""
    return model.generates


@every_model
def test_inference(name: str) -> None:
    """A floor below the textbook sum, on one device and on two; arrays as their elements."""
    model = made(name)
    source = SOURCE if model.has_encoder else 0
    if not generates(model):
        once = estimate(model, Encode(batch=BATCHES, seq_len=16, decoder_len=16), H100)
        assert np.all(once.latency.floor <= once.latency.serial)
        return
    many = estimate(model, Generate(batch=BATCHES, prompt_len=16, output_len=3, source_len=source), H100)
    assert np.all(np.asarray(many.latency.floor) <= np.asarray(many.latency.serial))
    assert np.all(np.asarray(many.memory.total) > 0)
    for i, batch in enumerate(BATCHES):
        one = estimate(model, Generate(batch=batch, prompt_len=16, output_len=3, source_len=source), H100)
        assert one.latency.floor == np.asarray(many.latency.floor)[i]
        assert one.latency.serial == np.asarray(many.latency.serial)[i]
        assert one.memory.total == np.broadcast_to(many.memory.total, 3)[i]
    assert floorline.fit(model, H100, batch=2, length=32, suggest=False, source_len=source).kv_bytes > 0


@every_model
def test_plans(name: str) -> None:
    """Tensor and data parallelism leave no more work on a rank than there was; the sum of the ranks' is no less."""
    model = made(name)
    work = (
        Prefill(batch=4, prompt_len=16, logits="all", source_len=SOURCE if model.has_encoder else 0)
        if generates(model)
        else Encode(batch=4, seq_len=16, decoder_len=16)
    )
    alone = count(model, work)
    for plan in (Parallelism(tp=2), Parallelism(dp=2), Parallelism(tp=2, dp=2), Parallelism(cp=2)):
        rank = count(model, work, parallelism=plan)
        assert rank.flops <= alone.flops * (1 + 1e-9)
        assert rank.flops * plan.devices >= alone.flops * (1 - 1e-9)
    batch = count(model, work, parallelism=Parallelism(dp=2))
    tables = {"deberta-v2"}  # relative positions are the same for every sequence: each rank computes their keys
    assert batch.flops * 2 == alone.flops or model.config["model_type"] in tables


@every_model
def test_gradients_are_sent_once(name: str) -> None:
    """Data parallelism sends each parameter's gradient, those of shared blocks once however often they run. Where tensors
    are the same for every sequence, such as T5's position bias, their gradients are summed too: some per cent at these sizes.
    """
    model = made(name)
    work = Train(micro_batch=1, global_batch=2, seq_len=16)
    messages = count(model, work, parallelism=Parallelism(dp=2), precision=Precision.of("bf16")).messages
    sent = sum(float(m.bytes * m.repeat) for m in messages if m.kind == "all_reduce" and m.part == "backward")
    assert sent <= 2.0 * float(model.parameter_count().total) * 1.05


@every_model
def test_training(name: str) -> None:
    """Backward takes twice the forward of what has weights on both sides, and no more than three times it with everything
    again; what is kept is less when it is computed again."""
    model = made(name)
    work = Train(micro_batch=1, global_batch=1, seq_len=16)
    plain, again = count(model, work), count(model, work, recompute="full")
    assert plain.forward <= plain.backward <= 2 * plain.forward
    assert plain.backward <= again.backward <= plain.backward + plain.forward
    sharded = Parallelism(tp=2, dp=2, sequence_parallel="yes", zero_stage="3")
    assert count(model, Train(micro_batch=1, global_batch=4, seq_len=16), parallelism=sharded).messages
    kept, less = (sum(saved_bytes(model, work, recompute=r).values()) for r in ("none", "full"))
    assert 0 < less < kept


@every_model
def test_explanations(name: str) -> None:
    """What a figure opens into adds up to it."""
    model = made(name)
    parameters = explain_params(model)
    assert sum(float(part.value) for part in parameters.parts) == parameters.value
    source = SOURCE if model.has_encoder else 0
    work = (
        Prefill(batch=2, prompt_len=16, logits="all")
        if generates_alone(model)
        else Encode(batch=2, seq_len=16, decoder_len=16)
    )
    step = single(model, work, Parallelism(), Precision.of("bf16"), "full")
    flops = explain_flops(model, count(model, work), step)
    assert sum(float(part.value) for part in flops.parts) == flops.value
    if model.generates:
        cache = explain_kv(floorline.fit(model, H100, batch=2, length=32, suggest=False, source_len=source))
        assert not cache.parts or sum(float(part.value) for part in cache.parts) == cache.value


def generates_alone(model: Transformer) -> bool:
    """Whether it makes text without an encoder."""
    return model.generates and not model.has_encoder
