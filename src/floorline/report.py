"""Results as plain dicts for JSON, with a stable shape: schema version, inputs, assumptions, provenance, answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any

import numpy as np

from floorline import __version__
from floorline.count import Count
from floorline.estimate import Estimate, Time
from floorline.explain import Explanation, Launch, operator_table
from floorline.fit import Fit
from floorline.memory import Memory, usable
from floorline.specs.accelerator import Cluster
from floorline.transformer import Transformer

SCHEMA_VERSION = 1


def envelope(
    command: str, inputs: Mapping[str, object], answer: Mapping[str, object], **more: object
) -> dict[str, Any]:
    """What every ``--json`` answer has around it.

    calibration is null until a calibration is shipped: times are floors and textbook sums.
    """
    head = {"schema_version": SCHEMA_VERSION, "floorline": __version__, "command": command, "inputs": dict(inputs)}
    return exact({**head, "calibration": None, **more, **answer})  # type: ignore[no-any-return]


def exact(value: Any) -> Any:
    """Plain JSON values: whole numbers as integers, nan and infinities as null, arrays as lists, specs as dicts.

    >>> exact({"a": 3.0, "b": float("nan")})
    {'a': 3, 'b': None}
    """
    if isinstance(value, Mapping):
        return {str(k): exact(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [exact(v) for v in value]
    if isinstance(value, np.ndarray):
        return exact(value.tolist())
    if isinstance(value, np.generic):
        return exact(value.item())
    if isinstance(value, float):
        if not np.isfinite(value):
            return None
        return int(value) if value == int(value) and abs(value) < 2.0**63 else value
    if is_dataclass(value) and not isinstance(value, type):
        return exact({f.name: getattr(value, f.name) for f in fields(value)})
    return value


def model_dict(model: Transformer) -> dict[str, Any]:
    """A model in short."""
    return {"name": model.name, "source": model.source, "sizes": dict(model.sizes), "layers": model.layers()}


def hardware_dict(cluster: Cluster) -> dict[str, Any]:
    """A cluster in short, SI units."""
    device = cluster.accelerator
    return {
        "name": device.name,
        "title": device.title,
        "devices": cluster.devices,
        "memory": device.memory,
        "usable_memory": usable(device),
        "memory_bandwidth": device.memory_bandwidth,
        "last_level_cache": device.last_level_cache,
        "peaks": dict(device.peaks),
        "links": [{"name": x.name, "bandwidth": x.bandwidth, "latency": x.latency} for x in device.links],
    }


def params_dict(model: Transformer) -> dict[str, Any]:
    """Parameters by module."""
    c = model.parameter_count()
    modules = [{"name": m.name, "tensor": m.tensor, "count": m.count, "parameters": m.parameters} for m in c.modules]
    head = {"total": c.total, "embedding": c.embedding, "non_embedding": c.non_embedding, "head": c.head}
    return {**head, "active_per_token": c.active_per_token, "modules": modules}


def count_dict(c: Count) -> dict[str, Any]:
    """FLOP by operator."""
    operators = [asdict(o) for o in c.operators]
    return {
        "forward": c.forward, "backward": c.backward, "total": c.flops, "bytes": c.bytes, "attention": c.attention,
        "fusion": c.fusion, "operators": operators,
    }  # fmt: skip


def time_dict(time: Time | None) -> dict[str, Any] | None:
    """A time, always with floor, expected, low and high."""
    return None if time is None else asdict(time)


def memory_dict(memory: Memory) -> dict[str, Any]:
    """Memory of one device by kind."""
    return {
        "weights": memory.weights,
        "kv_cache": memory.kv_cache,
        "activations": memory.activations,
        "total": memory.total,
    }


def launch_dict(x: Launch) -> dict[str, Any]:
    """One line of the operator table."""
    return {
        "name": x.name, "repeat": x.repeat, "flops": x.flops, "bytes": x.bytes, "sent": x.sent, "serial_s": x.seconds,
        "bound": x.bound, "formula": x.formula,
    }  # fmt: skip


def infer_dict(e: Estimate) -> dict[str, Any]:
    """Times, throughput and memory of an inference."""
    phases = {}
    for p in e.phases:
        floor = {"compute": p.floor.compute, "memory": p.floor.memory, "link": p.floor.link}
        table = [launch_dict(x) for x in operator_table(e, p)]
        phases[p.name] = {"time_s": time_dict(p.time), "floor_s": floor, "bound": p.bound, "operators": table}
    return {
        "ttft_s": time_dict(e.ttft),
        "tpot_s": time_dict(e.tpot),
        "latency_s": time_dict(e.latency),
        "output_tokens_per_s": {
            "ceiling": e.output_tokens / e.latency.floor, "serial": e.output_tokens / e.latency.serial, "expected": None,
            "low": None, "high": None,
        },
        "memory": memory_dict(e.memory),
        "fits": e.memory.total <= usable(e.cluster.accelerator),
        "bound": {p.name: p.bound for p in e.phases},
        "phases": phases,
    }  # fmt: skip


def fit_dict(answer: Fit) -> dict[str, Any]:
    """Whether it fits, and how much more would."""
    return {
        "fits": bool(answer.fits),
        "memory": memory_dict(answer.memory),
        "budget": answer.budget,
        "margin": answer.margin,
        "batch": answer.batch,
        "length": answer.length,
        "kv_bytes": answer.kv_bytes,
        "kv_bytes_per_token": answer.kv_per_token,
        "max_batch": answer.max_batch,
        "max_context": answer.max_context,
        "max_concurrency": answer.max_concurrency,
        "suggestions": list(answer.suggestions),
    }


def explanation_dict(node: Explanation) -> dict[str, Any]:
    """An explanation as nested dicts."""
    own = {"title": node.title, "formula": node.formula, "filled": node.filled, "value": node.value, "unit": node.unit}
    return {**own, "source": node.source, "latex": node.latex, "parts": [explanation_dict(p) for p in node.parts]}
