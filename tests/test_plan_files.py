"""Plans in other frameworks' files: read as the frameworks mean them, written so that reading gives the same plan."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from floorline.catalogue.load import load_model
from floorline.cli.main import main
from floorline.errors import BadInput
from floorline.plan_files import WRITERS, form_of, read_plan, write_plan
from floorline.plan_files.plan_file import texts
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.specs.recipe import Recipe
from floorline.specs.workload import Train

# NVIDIA/Megatron-LM, examples/gpt3/train_gpt3_175b_distributed.sh, shortened
GPT3 = """#!/bin/bash
# Runs the "175B" parameter model
GPUS_PER_NODE=8
# Change for multinode config
NUM_NODES=128
WORLD_SIZE=$(($GPUS_PER_NODE*$NUM_NODES))
CHECKPOINT_PATH=$1 #<Specify path>
DATA_PATH=$5 #<Specify path and file prefix>_text_document
DISTRIBUTED_ARGS=(
    --nproc_per_node $GPUS_PER_NODE
    --nnodes $NUM_NODES
)
GPT_MODEL_ARGS=(
    --num-layers 96
    --hidden-size 12288
    --num-attention-heads 96
    --seq-length 2048
    --max-position-embeddings 2048
    --attention-backend auto # Can use (flash/fused/unfused/local)
)
TRAINING_ARGS=(
    --micro-batch-size 1
    --global-batch-size 1536
    --step-batch-size-schedule "0:16 2.4B:320 4.8B:624 7.2B:928 9.6B:1232 12B:1536"
    --fp16
    --lr 6.0e-5
)
MODEL_PARALLEL_ARGS=(
\t--tensor-model-parallel-size 8
\t--pipeline-model-parallel-size 16
)
torchrun ${DISTRIBUTED_ARGS[@]} pretrain_gpt.py \\
    ${GPT_MODEL_ARGS[@]} \\
    ${TRAINING_ARGS[@]} \\
    ${MODEL_PARALLEL_ARGS[@]}
"""

# NVIDIA/Megatron-LM, examples/mixtral/train_mixtral_8x7b_distributed.sh, shortened
MIXTRAL = """GPUS_PER_NODE=8
NNODES=${SLURM_NNODES:-"4"}
WORLD_SIZE=$(($GPUS_PER_NODE*$NNODES))
MODEL_ARGS=(
    --use-mcore-models
    --disable-bias-linear
    --seq-length 4096
    --max-position-embeddings 32768
    --num-layers 32
    --hidden-size 4096
    --ffn-hidden-size 14336
    --num-attention-heads 32
    --attention-dropout 0.0
    --hidden-dropout 0.0
    --normalization RMSNorm
    --position-embedding-type rope
    --swiglu
    --untie-embeddings-and-output-weights
    --group-query-attention
    --num-query-groups 8
    --vocab-size 32000
)
MOE_ARGS=(
    --num-experts 8
    --moe-router-topk 2
    --moe-grouped-gemm
)
TRAINING_ARGS=(
    --micro-batch-size 1
    --global-batch-size 256
    --bf16
)
MODEL_PARALLEL_ARGS=(
    --tensor-model-parallel-size 1
    --pipeline-model-parallel-size 4
    --expert-model-parallel-size 8
    --use-distributed-optimizer
    --sequence-parallel
)
if [ -n "${WANDB_API_KEY}" ]; then
    LOGGING_ARGS+=(
        --wandb-project ${WANDB_PROJECT:-"Mixtral"}
    )
fi
"""

# bigscience-workshop/bigscience, train/tr11-176B-ml/tr11-176B-ml.slurm, shortened
BLOOM = """#!/bin/bash
#SBATCH --nodes=48
#SBATCH --ntasks-per-node=1          # crucial - only 1 task per dist per node!
GPUS_PER_NODE=8
NNODES=$SLURM_NNODES
TP_SIZE=4
PP_SIZE=12
MICRO_BATCH_SIZE=2  # was MBS=1 till GBS=784
GLOBAL_BATCH_SIZE=2048  # 4.2M tokens. It is larger than the initial plan of 3.2M tokens to get higher throughput
NHIDDEN=14336
NLAYERS=70
NHEADS=112
SEQ_LEN=2048
# for 20h 1190, for 100h 5990
#    --exit-duration-in-mins 1190 \\
GPT_ARGS=" \\
    --pp-partition-method 'type:transformer|embedding' \\
    --num-layers $NLAYERS \\
    --hidden-size $NHIDDEN \\
    --num-attention-heads $NHEADS \\
    --seq-length $SEQ_LEN \\
    --max-position-embeddings $SEQ_LEN \\
    --micro-batch-size $MICRO_BATCH_SIZE \\
    --rampup-batch-size 192 16 9_765_625 \\
    --global-batch-size $GLOBAL_BATCH_SIZE \\
    --bf16 \\
    --position-embedding-type alibi \\
    --checkpoint-activations \\
    --pad-vocab-size-to 250880 \\
    "
ZERO_STAGE=0 # important: bf16 must use z0! it implements its own zero stage 1 equivalent
cat <<EOT > $config_json
{
  "train_micro_batch_size_per_gpu": $MICRO_BATCH_SIZE,
  "zero_optimization": {
    "stage": $ZERO_STAGE
  }
}
EOT
DEEPSPEED_ARGS=" \\
    --deepspeed \\
    --deepspeed_config ${config_json} \\
    --zero-stage ${ZERO_STAGE} \\
    "
#    --universal-checkpoint \\
export CMD=" \\
    `pwd`/pretrain_gpt.py \\
    --tensor-model-parallel-size $TP_SIZE \\
    --pipeline-model-parallel-size $PP_SIZE \\
    $GPT_ARGS \\
     $DEEPSPEED_ARGS \\
    "
"""

# NVIDIA/Megatron-LM, examples/post_training/modelopt/conf/deepseek-ai/DeepSeek-V2-Lite.sh, shortened
DEEPSEEK = """MODEL_ARGS=" \\
    --micro-batch-size 1 \\
    --bf16 \\
    --disable-bias-linear \\
    --untie-embeddings-and-output-weights \\
    --normalization RMSNorm \\
    --swiglu \\
    --num-layers 27 \\
    --hidden-size 2048 \\
    --ffn-hidden-size 10944 \\
    --num-attention-heads 16 \\
    --kv-channels 16 \\
    --multi-latent-attention \\
    --kv-lora-rank 512 \\
    --v-head-dim 128 \\
    --qk-head-dim 128 \\
    --qk-layernorm \\
    --qk-pos-emb-head-dim 64 \\
    --num-experts 64 \\
    --moe-layer-freq ([0]+[1]*26) \\
    --moe-ffn-hidden-size 1408 \\
    --moe-router-topk 6 \\
    --moe-shared-expert-intermediate-size 2816 \\
    --seq-length 1024 \\
    --vocab-size 102400 \\
"
"""

# NVIDIA/Megatron-LM, tests/functional_tests/test_cases/gpt/gpt3_mcore_te_tp1_pp1_uniform_full_recompute/model_config.yaml
YAML = """ENV_VARS:
  CUDA_DEVICE_MAX_CONNECTIONS: 1
  NCCL_ALGO: Ring
MODEL_ARGS:
  --num-layers: 12
  --hidden-size: 512
  --num-attention-heads: 8
  --log-params-norm: true
  --micro-batch-size: 4
  --global-batch-size: 32
  --seq-length: 1024
  --max-position-embeddings: 1024
  --data-path: ${DATA_PATH}/text/common_pile
  --lr: 0.00015
  --tensor-model-parallel-size: 1
  --recompute-granularity: full
  --recompute-method: uniform
  --recompute-num-layers: 1
  --bf16: true
  --dist-ckpt-strictness: log_all # backward compatibility for TE changes
"""

# pytorch/torchtitan before its configurations became Python, torchtitan/models/llama3/train_configs/llama3_405b.toml, shortened
LLAMA_405B = """# NOTE: this toml config is a preset for 128 H100 GPUs.
[model]
name = "llama3"
flavor = "405B"
hf_assets_path = "./assets/hf/Llama-3.1-405B"
converters = ["float8"]

[optimizer]
name = "AdamW"
lr = 8e-5

[training]
local_batch_size = 2
seq_len = 8192
dataset = "c4"

[parallelism]
data_parallel_replicate_degree = 1
data_parallel_shard_degree = -1
tensor_parallel_degree = 8  # 8-way TP
enable_async_tensor_parallel = true
pipeline_parallel_degree = 1
context_parallel_degree = 1

[activation_checkpoint]
mode = "full" # ["none", "selective", "full"]

[compile]
enable=true

[quantize.linear.float8]
filter_fqns = ["output"]
"""

# pytorch/torchtitan of February 2025, train_configs/llama3_405b.toml: degrees stood in other sections; shortened
OLDER = """[model]
name = "llama3"
converters = "float8"
[training]
batch_size = 2
seq_len = 8192
data_parallel_replicate_degree = 1
data_parallel_shard_degree = -1
tensor_parallel_degree = 8  # 8-way TP
compile = true
[experimental]
context_parallel_degree = 2
pipeline_parallel_degree = 1
"""

# deepspeedai/DeepSpeed, tests/model/Megatron_GPT2/ds_config_func_bs8_zero2_offload.json, shortened
OFFLOAD = """{
  "train_batch_size": 8,
  "gradient_accumulation_steps": 1,
  "steps_per_print": 1,
  "zero_optimization": {"stage": 2, "reduce_bucket_size": 7000000, "cpu_offload": true},
  "fp16": {"enabled": true, "loss_scale": 0},
  "activation_checkpointing": {"partition_activations": true}
}"""

# deepspeedai/DeepSpeed, examples/sdma_allgather/ds_config_zero3.json, shortened
ZERO_3 = """{
  "train_micro_batch_size_per_gpu": 1,
  "gradient_accumulation_steps": 1,
  "optimizer": {"type": "AdamW", "params": {"lr": 1e-5, "betas": [0.9, 0.999]}},
  "bf16": {"enabled": true},
  "zero_optimization": {"stage": 3, "overlap_comm": true, "sub_group_size": 1e12}
}"""


def test_gpt3_175b_of_megatron() -> None:
    """The published example: the plan, the devices from variables, the model, and what is not used."""
    plan = read_plan(GPT3)
    expected = {
        "tp": "8",
        "pp": "16",
        "micro_batch": "1",
        "global_batch": "1536",
        "seq_len": "2048",
        "dtype": "fp16",
        "devices": "1024",
    }
    assert plan.flags == {**expected, "engine": "megatron-core"}
    assert "--lr" in plan.ignored
    assert any("step-batch-size-schedule" in remark for remark in plan.unmapped)
    assert 174e9 < load_model(plan.model).parameter_count().total < 176e9


def test_mixtral_of_megatron() -> None:
    """Experts on data-parallel ranks, ZeRO 1, and a model of 46.7 billion parameters."""
    plan = read_plan(MIXTRAL)
    assert plan.model is not None
    assert {k: plan.flags[k] for k in ("pp", "ep", "zero_stage", "devices", "sequence_parallel")} == {
        "pp": "4",
        "ep": "8",
        "zero_stage": "1",
        "devices": "32",
        "sequence_parallel": "yes",
    }
    assert load_model(plan.model).parameter_count().total == load_model("mixtral-8x7b").parameter_count().total


def test_deepseek_v2_lite_of_megatron() -> None:
    """Arguments inside one quoted string; latent attention, one plain layer and experts with a shared one."""
    made = load_model(read_plan(DEEPSEEK).model).parameter_count().total
    assert made == pytest.approx(load_model("deepseek-v2-lite").parameter_count().total, rel=1e-4)


def test_bloom_of_megatron_deepspeed() -> None:
    """A whole batch script: devices from its header, comments between continued lines, a part for another program in it."""
    plan = read_plan(BLOOM)
    assert plan.flags == {
        "engine": "megatron-deepspeed",
        "tp": "4",
        "pp": "12",
        "devices": "384",
        "micro_batch": "2",
        "global_batch": "2048",
        "seq_len": "2048",
        "dtype": "bf16",
        "recompute": "full",
        "ends_as_layers": "yes",
    }
    assert load_model(plan.model).parameter_count().total == pytest.approx(176.25e9, rel=2e-3)


def test_yaml_of_megatron() -> None:
    """Lines of YAML, as the functional tests have them; the environment is no argument."""
    plan = read_plan(YAML)
    assert (plan.flags["recompute"], plan.flags["micro_batch"], plan.flags["dtype"]) == ("full", "4", "bf16")
    assert "recompute_layers" not in plan.flags
    assert not any("nccl" in name for name in plan.ignored)


ARGUMENTS: tuple[tuple[str, dict[str, str]], ...] = (
    (
        "--num-layers 96 --pipeline-model-parallel-size 8 --num-layers-per-virtual-pipeline-stage 3",
        {"virtual_stages": "4"},
    ),
    ("--pipeline_model_parallel_size=8 --num-virtual-stages-per-pipeline-rank=2", {"pp": "8", "virtual_stages": "2"}),
    ("--use-torch-fsdp2", {"zero_stage": "3"}),
    ("--use-torch-fsdp2 --torch-fsdp2-no-reshard-after-forward", {"zero_stage": "2"}),
    ("--use-megatron-fsdp --data-parallel-sharding-strategy optim_grads", {"zero_stage": "2"}),
    ("--use-megatron-fsdp", {"zero_stage": "3"}),
    ("--recompute-activations", {"recompute": "selective"}),
    (
        "--recompute-granularity selective --recompute-modules core_attn moe_act --bf16",
        {"recompute": "selective", "recompute_modules": "core_attn+moe_act", "dtype": "bf16"},
    ),
    (
        "--recompute-granularity full --recompute-method block --recompute-num-layers 2 --pipeline-model-parallel-size 4",
        {"recompute": "full", "recompute_layers": "8"},
    ),
    (
        "--deepspeed --zero-stage 1 --checkpoint-activations",
        {"engine": "megatron-deepspeed", "zero_stage": "1", "recompute": "full"},
    ),
    (
        "model_parallel:\n  bf16: true\nrecompute_modules:\n  - mlp\n  - moe\nrecompute_granularity: selective",
        {"recompute_modules": "mlp+moe"},
    ),
    ("--bf16 --fp8-format hybrid --fp8-recipe blockwise", {"dtype": "bf16", "matmuls": "fp8-block128"}),
    ("--bf16 --fp4-format e2m1", {"matmuls": "fp4"}),
    ("--optimizer sgd --sgd-momentum 0.0", {"optimizer": "sgd"}),
    ("--optimizer dist_muon --optimizer-cpu-offload", {"optimizer": "muon", "offload_optimizer": "yes"}),
    ("--context-parallel-size 4 --cp-comm-type a2a", {"cp": "4", "context": "all-to-all"}),
    (
        "--account-for-embedding-in-pipeline-split --account-for-loss-in-pipeline-split",
        {"ends_as_layers": "yes"},
    ),
    ("--num-layers 8 --cpu-offloading-num-layers 2", {"offload_activations": "0.25"}),
    (
        "TP=4; PP=$((TP * 2))\npretrain --tensor-model-parallel-size ${TP} --pipeline-model-parallel-size $PP",
        {"tp": "4", "pp": "8"},
    ),
    (
        "NNODES=2 GPUS_PER_NODE=8 ARGS='--micro-batch-size 2 --tensor-model-parallel-size 4'",
        {"devices": "16", "global_batch": "8"},
    ),
    (
        "--tensor-model-parallel-size 8 --expert-model-parallel-size 2 --expert-tensor-parallel-size 4",
        {"ep": "2", "tp": "8"},
    ),
    ("--tensor-model-parallel-size 2 --expert-model-parallel-size 8 --num-experts 64", {"ep": "16"}),
    ("--tensor-model-parallel-size 8 --expert-model-parallel-size 8 --num-experts 8", {"ep": "8"}),
    (
        "tensor_model_parallel_size: 4\nvirtual_pipeline_model_parallel_size: 2\nbf16: True",
        {"tp": "4", "virtual_stages": "2"},
    ),
)


@pytest.mark.parametrize(("text", "expected"), ARGUMENTS)
def test_arguments_of_megatron(text: str, expected: dict[str, str]) -> None:
    """Each argument is read as Megatron means it."""
    found = read_plan(text).flags
    assert {name: found.get(name) for name in expected} == expected


def test_llama_405b_of_torchtitan() -> None:
    """The preset for 128 devices: sharded over what tensor parallelism leaves, 8-bit linear layers, a model by its assets."""
    plan = read_plan(LLAMA_405B, {"devices": "128"})
    assert plan.model == "Llama-3.1-405B"
    assert plan.flags == {
        "engine": "torchtitan",
        "tp": "8",
        "pp": "1",
        "cp": "1",
        "sequence_parallel": "yes",
        "zero_stage": "3",
        "micro_batch": "2",
        "global_batch": "32",
        "seq_len": "8192",
        "recompute": "full",
        "dtype": "bf16",
        "gradients": "fp32",
        "matmuls": "fp8",
        "optimizer": "adamw",
    }


def test_older_torchtitan() -> None:
    """The same keys in the sections where they stood in 2025."""
    found = read_plan(OLDER, {"devices": "128"}).flags
    assert (found["tp"], found["cp"], found["micro_batch"], found["global_batch"], found["matmuls"]) == (
        "8",
        "2",
        "2",
        "16",
        "fp8",
    )


TABLES: tuple[tuple[str, dict[str, str], dict[str, str]], ...] = (
    (
        "data_parallel_shard_degree = 8\ndata_parallel_replicate_degree = 4",
        {},
        {"dp": "32", "shard_ranks": "8", "zero_stage": "3"},
    ),
    ("data_parallel_shard_degree = 1\ndata_parallel_replicate_degree = 4", {}, {"dp": "4"}),
    ("data_parallel_replicate_degree = 2", {"devices": "16"}, {"shard_ranks": "8", "global_batch": "128"}),
    ('fsdp_reshard_after_forward = "never"', {}, {"zero_stage": "2"}),
    (
        "pipeline_parallel_degree = 4",
        {},
        {"zero_stage": "2", "schedule": "1f1b", "virtual_stages": "1", "micro_batch": "1"},
    ),
    (
        'pipeline_parallel_degree = 4\npipeline_parallel_schedule = "Interleaved1F1B"\npipeline_parallel_layers_per_stage = 3',
        {},
        {"schedule": "1f1b", "virtual_stages": "3", "ends_as_layers": "yes"},
    ),
    ('pipeline_parallel_degree = 4\npipeline_parallel_schedule = "GPipe"', {}, {"schedule": "gpipe"}),
    ('pipeline_parallel_degree = 4\npipeline_parallel_schedule = "DualPipeV"', {}, {"schedule": "dualpipe"}),
    (
        '[activation_checkpoint]\nmode = "selective"\nselective_ac_option = "2"',
        {},
        {"recompute": "full", "recompute_layers": "16"},
    ),
    (
        '[training]\ndtype = "bfloat16"\nenable_cpu_offload = true',
        {},
        {"master_weights": "no", "offload_parameters": "yes"},
    ),
)


@pytest.mark.parametrize(("text", "flags", "expected"), TABLES)
def test_keys_of_torchtitan(text: str, flags: dict[str, str], expected: dict[str, str]) -> None:
    """Each key is read as torchtitan means it, of a model of 32 layers."""
    head = "" if text.startswith("[") else "[parallelism]\n"
    found = read_plan(head + text, flags, 32.0).flags
    assert {name: found.get(name) for name in expected} == expected


def test_deepspeed() -> None:
    """Sizes follow from each other and from the data-parallel ranks; older names of offload are read."""
    found = read_plan(OFFLOAD, {"devices": "4"})
    assert found.flags == {
        "zero_stage": "2",
        "offload_optimizer": "yes",
        "dtype": "fp16",
        "micro_batch": "2",
        "global_batch": "8",
    }
    assert any("activation_checkpointing" in remark for remark in found.unmapped)
    found = read_plan(ZERO_3, {"devices": "64"})
    assert (found.flags["zero_stage"], found.flags["global_batch"], found.flags["optimizer"]) == ("3", "64", "adamw")
    assert "zero_optimization.overlap_comm" in found.ignored
    three = {"train_batch_size": 96, "train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 3}
    assert read_plan(json.dumps(three)).flags["dp"] == "8"
    with pytest.raises(BadInput, match="data-parallel ranks"):
        read_plan(json.dumps(three), {"devices": "4"})


def test_auto_of_deepspeed() -> None:
    """What another program fills in is said to be unknown, and no format is guessed."""
    found = read_plan(
        '{"train_micro_batch_size_per_gpu": "auto", "bf16": {"enabled": "auto"}, "zero_optimization": {"stage": 3}}'
    )
    assert found.flags == {"zero_stage": "3"}
    assert sum('is "auto"' in remark for remark in found.unmapped) == 2


MALFORMED = (
    ("", "is no plan"),
    ("hello world", "is no plan"),
    ("--tensor-model-parallel-size", "has no value"),
    ("--tensor-model-parallel-size eight", "expected a whole number"),
    ("--tensor-model-parallel-size $TP", "does not set"),
    ("--tensor-model-parallel-size 0", "expected a whole number"),
    ("--micro-batch-size 1.5", "expected a whole number"),
    ("--recompute-granularity some", "expected one of full, selective"),
    ('--bf16 "', "inside a quote"),
    ("--verbose --colour", "nothing of a plan"),
    ("--use-megatron-fsdp --data-parallel-sharding-strategy all", "expected one of no_shard"),
    ("--num-layers 10 --pipeline-model-parallel-size 4 --num-layers-per-virtual-pipeline-stage 3", "does not divide"),
    ("[training]\nseq_len = ", "no TOML"),
    ("[training]\nseq_len = 'long'", "training.seq_len is 'long'"),
    ("[tool]\nx = 1", "none of torchtitan's sections"),
    ('[parallelism]\npipeline_parallel_degree = 2\npipeline_parallel_schedule = "2F2B"', "expected one of 1F1B"),
    ("[parallelism]\ntensor_parallel_degree = -1", "expected a whole number"),
    ('[training]\nenable_cpu_offload = "yes"', "expected true or false"),
    ("{", "no JSON"),
    ("{}", "no keys"),
    ('{"a": 1}', "none of DeepSpeed's"),
    ('{"train_batch_size": "many"}', "train_batch_size is 'many'"),
    ('{"train_batch_size": NaN}', "expected a whole number"),
    ('{"train_batch_size": true}', "expected a whole number"),
    ('{"zero_optimization": {"stage": 4}}', "expected one of 0, 1, 2, 3"),
    ('{"zero_optimization": {"offload_optimizer": {"device": "disk"}}}', "expected one of none, cpu, nvme"),
    (
        '{"train_batch_size": 10, "train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 1}',
        "no multiple",
    ),
    ("{" + '"bf16": {' * 5000, "no JSON"),
)


@pytest.mark.parametrize(("text", "expected"), MALFORMED)
def test_malformed(text: str, expected: str) -> None:
    """One line that says what was wrong and what was expected."""
    with pytest.raises(BadInput) as error:
        read_plan(text)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


PIECES = [
    *re.findall(r"\S+|\n", GPT3 + MIXTRAL + LLAMA_405B + OFFLOAD + YAML),
    "$((",
    "))",
    "${A:-",
    "}",
    "'",
    '"',
    "\\",
    "(",
    ")",
    "A=$A$A",
]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40), st.sampled_from((" ", "\n", "")))
def test_rubble(pieces: list[str], between: str) -> None:
    """Whatever stands in a file, it is read or refused in one line."""
    with contextlib.suppress(BadInput):
        plan = read_plan(between.join(pieces))
        assert all(isinstance(value, str) for value in plan.flags.values())


def test_variables_that_hold_each_other() -> None:
    """Variables that would fill each other in for ever, or double each time, come to an end."""
    chain = "\n".join(f"A{i}=$A{i + 1}$A{i + 1}" for i in range(60))
    with pytest.raises(BadInput):
        read_plan(f"{chain}\nA60=1\n--tensor-model-parallel-size $A0")
    with pytest.raises(BadInput):
        read_plan("A=$B\nB=$A\n--tensor-model-parallel-size $A")


LAYERS = 48.0


@st.composite
def plans(draw: st.DrawFn) -> tuple[dict[str, str], Parallelism]:
    """Any plan that a training step can have, as texts."""
    power = st.sampled_from((1, 2, 4, 8))
    tp, pp, cp, dp = draw(power), draw(st.sampled_from((1, 2, 3, 4))), draw(power), draw(power)
    chunks = draw(st.sampled_from((1, 2, 3))) if pp > 1 else 1
    ranks = draw(st.sampled_from([None, *(n for n in (2, 4) if n < dp)]))
    word: dict[str, Any] = {
        name: draw(st.sampled_from(Parallelism.__dataclass_fields__[name].metadata["options"]))
        for name in ("sequence_parallel", "context", "schedule", "ends_as_layers", "zero_stage")
    }
    plan = Parallelism(tp=tp, pp=pp, cp=cp, dp=dp, ep=draw(power), virtual_stages=chunks, shard_ranks=ranks, **word)
    micro = draw(st.sampled_from((1, 2, 3)))
    work = Train(
        micro_batch=micro, global_batch=micro * dp * draw(st.integers(1, 9)), seq_len=draw(st.sampled_from((512, 8192)))
    )
    words: dict[str, Any] = {
        name: draw(st.sampled_from(Recipe.__dataclass_fields__[name].metadata["options"]))
        for name in ("optimizer", "master_weights", "recompute", "offload_optimizer", "offload_parameters")
    }
    recipe = Recipe(
        recompute_modules=draw(st.sampled_from(("", "core_attn+moe_act", "every-2nd-matmul", "mlp_act", "mlp"))),
        recompute_layers=draw(st.sampled_from((None, 12, 24, 7))),
        offload_activations=draw(st.sampled_from((0, 0.25, 0.3))),
        lora_rank=draw(st.sampled_from((0, 8))),
        **words,
    )
    dtype = draw(st.sampled_from(("bf16", "fp16", "fp32")))
    gradients = draw(st.sampled_from(("bf16", "fp32")))
    matmuls = draw(st.sampled_from(("", "fp8", "fp8-block128", "fp4")))
    precision = Precision(weights=dtype, activations=dtype, kv_cache=dtype, gradients=gradients, matmuls=matmuls)
    return texts(plan, work, recipe, precision), plan


DEFAULTS = {
    **dict.fromkeys(("tp", "pp", "cp", "dp", "ep", "virtual_stages", "micro_batch"), "1"),
    **{"schedule": "1f1b", "zero_stage": "0", "optimizer": "adamw", "recompute": "none"},
}
"""What a file may say although it need not."""


@settings(max_examples=300, deadline=None)
@given(plans(), st.sampled_from(sorted(WRITERS)))
def test_round_trip(drawn: tuple[dict[str, str], Parallelism], form: str) -> None:
    """Reading what was written gives the plan, but for what the writer says that the format cannot say."""
    flags, plan = drawn
    written = write_plan(form, flags, LAYERS)
    assert form_of(written.text) == form
    assert set(written.unsaid) <= set(flags)
    again = read_plan(written.text, {**written.unsaid, "devices": str(int(float(plan.devices)))}, LAYERS).flags
    said = {name: value for name, value in flags.items() if name not in written.unsaid}
    compared = {name: again.get(name, DEFAULTS.get(name)) for name in said if name != "dp"}
    assert compared == {name: value for name, value in said.items() if name != "dp"}
    more = {name: value for name, value in again.items() if name not in flags and value != DEFAULTS.get(name)}
    assert set(more) <= {"engine", "devices", "seq_len", "dp", "sequence_parallel", "recompute_modules"} | set(
        written.unsaid
    )


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """A command's status, answer and notes."""
    status = main(["train", *words])
    answer = capsys.readouterr()
    return status, answer.out, answer.err


def saved(folder: Path, text: str, name: str = "plan.txt") -> str:
    """A file with a text, whose name says nothing of the format."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pasted script is a model and a plan; flags win over it; what is not used is said."""
    path = saved(tmp_path, GPT3)
    status, out, err = run(capsys, "--from", path, "--gpu", "a100-sxm-80gb", "--json")
    assert status == 0
    answer = json.loads(out)
    assert (answer["parallelism"]["tp"], answer["parallelism"]["dp"], answer["workload"]["global_batch"]) == (
        8.0,
        8.0,
        1536.0,
    )
    assert "read as megatron" in err
    assert "--lr" in err
    status, out, _ = run(capsys, "-", "--from", path, "--tp", "4", "--devices", "512", "--json")
    assert (status, json.loads(out)["parallelism"]["tp"], json.loads(out)["parallelism"]["dp"]) == (0, 4.0, 8.0)
    _, out, _ = run(capsys, "--from", path, "--set", "n_layer=32,vocab_size=51200", "--devices", "1_024", "--json")
    assert (json.loads(out)["model"]["layers"], json.loads(out)["model"]["sizes"]["V"]) == (32, 51200)


def test_model_by_its_assets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """torchtitan's file names the model; one on the command line wins."""
    path = saved(tmp_path, LLAMA_405B)
    status, out, _ = run(capsys, "--from", path, "--devices", "128")
    assert (status, out.startswith("llama-3.1-405b on 128")) == (0, True)
    status, out, _ = run(capsys, "llama-3.1-8b", "--from", path, "--devices", "16")
    assert (status, out.startswith("llama-3.1-8b on 16")) == (0, True)


@pytest.mark.parametrize("form", sorted(WRITERS))
def test_printed_plan_is_read_again(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A plan of flags, printed and pasted, asks for the same step."""
    plan = (
        "llama-3.1-8b",
        "--tp",
        "2",
        "--dp",
        "4",
        "--zero-stage",
        "3",
        "--micro-batch-size",
        "2",
        "--global-batch-size",
        "32",
    )
    common = ("--seq-len", "4096", "--recompute", "full", "--engine", "torchtitan", "--dtype", "bf16", "--json")
    status, out, _ = run(capsys, *plan, "--sequence-parallel", *common)
    first = json.loads(out)
    status, out, err = run(capsys, *plan, "--sequence-parallel", *common[:-1], "--as", form)
    assert status == 0
    assert (form == "deepspeed") == ("has no word for" in err)
    left = ("--sequence-parallel", "--devices", "8") if form == "deepspeed" else ("--devices", "8")
    _, out, _ = run(capsys, "llama-3.1-8b", "--from", saved(tmp_path, out), *left, *common)
    second = json.loads(out)
    assert (second["step_time_s"], second["memory"]) == (first["step_time_s"], first["memory"])


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No model, no file, no text, a word that is no format: one line each."""
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    cases = (
        ((), 2, "MODEL is missing"),
        (("--from", saved(tmp_path, ZERO_3)), 2, "does not describe one"),
        (
            ("--from", saved(tmp_path, LLAMA_405B.replace("Llama-3.1-405B", "tokenizer"), "b")),
            2,
            "'tokenizer' is not known",
        ),
        (("gpt2", "--from", str(tmp_path / "none")), 3, "no such file"),
        (("gpt2", "--from", str(tmp_path)), 2, "expected a file"),
        (("gpt2", "--from", str(binary)), 2, "no text"),
        (("gpt2", "--seq-len", "64", "--as", "yaml"), 2, "expected one of megatron"),
        (
            ("gpt2", "--from", saved(tmp_path, "--tensor-model-parallel-size 8 --seq-length 64")),
            2,
            "tensor parallelism",
        ),
    )
    for words, expected, part in cases:
        status, out, err = run(capsys, *words)
        assert (status, out) == (expected, ""), words
        assert part in err.splitlines()[-1]
