"""What kind of question a measured run answers, so that errors are told apart."""

from __future__ import annotations

from floorline.validation.cases import Case

NATIVE = ("tensorrt-llm", "fastertransformer", "lmdeploy", "gpt-fast", "vllm", "sglang")
"""Software whose host starts compiled kernels, or replays a captured graph."""

LOADS = {
    "closed": "closed loop",
    "staggered": "clients that start one after another",
    "saturated": "as many requests as fit",
    "open": "requests at a rate",
}


def question(case: Case) -> str:
    """The kind of question of a case.

    >>> question(Case({"kind": "inference", "load": "closed", "metric": "tpot_s"}))
    'closed loop, time per token'
    """
    training = "training, " if case.word("kind") == "training" else ""
    if case.metric in ("peak_memory_bytes", "out_of_memory"):
        return training + ("peak memory" if case.metric == "peak_memory_bytes" else "out of memory")
    if case.word("kind") == "diffusion":
        return "diffusion, one device" if case.number("devices", 1.0) == 1.0 else "diffusion, several devices"
    if case.word("kind") != "inference":
        return case.word("kind")
    load = LOADS.get(case.word("load"), "")
    if load:
        return load + {"tpot_s": ", time per token", "ttft_s": ", time to first token"}.get(case.metric, "")
    native = case.word("engine").lower().startswith(NATIVE)
    return "static batch, compiled or captured" if native else "static batch, eager"
