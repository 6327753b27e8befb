"""vLLM: its flags, and why each is set (SPEC 2.6, 12). The same port as SGLang's.

Never set: request logs, code of the model's, middleware, plug-ins of parsers, the development mode
whose routes have no key.
"""

from pathlib import Path

from worker.engine.flavour import Flavour
from worker.engine.server.plan import AUTO, Brand, Device, Keys, ServerPlan
from worker.engine.server.sglang import NOWHERE


def promised(plan: ServerPlan, context: int) -> list[str]:
    """What the record attests."""
    flags = [
        *("--max-model-len", str(context)),
        # OpenAI's sampling defaults; a model's own would change answers that name no temperature.
        *("--generation-config", "vllm"),
        "--enable-prompt-tokens-details",
        "--enable-force-include-usage",
        *("--allowed-media-domains", NOWHERE),
    ]
    # It guesses no parser: `auto` is none.
    if plan.tool_parser not in ("", AUTO):
        flags += ["--enable-auto-tool-choice", "--tool-call-parser", plan.tool_parser]
    if plan.reasoning_parser not in ("", AUTO):
        flags += ["--reasoning-parser", plan.reasoning_parser]
    return [*flags, *plan.flags]


def private(plan: ServerPlan, port: int, _: Keys, __: Path) -> list[str]:
    """What differs at each start, or changes no answer."""
    return [
        *("--model", str(plan.folder), "--served-model-name", plan.model),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--max-num-seqs", str(plan.slots)),
        "--enable-server-load-tracking",
        "--no-enable-log-requests",
        "--disable-uvicorn-access-log",
        "--disable-fastapi-docs",
        *("--uvicorn-log-level", "error"),
    ]


def environment(plan: ServerPlan, keys: Keys) -> dict[str, str]:
    """Beside what every server gets."""
    own = {"VLLM_API_KEY": keys.api, "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    return {**own, "VLLM_TARGET_DEVICE": "cpu"} if plan.device is Device.CPU else own


VLLM = Brand(
    name="vllm",
    package="vllm",
    module="vllm.entrypoints.openai.api_server",
    flavour=Flavour.VLLM,
    ready_path="/health",
    deep_path="/health",
    flags=frozenset(
        {
            *("--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size"),
            *("--dtype", "--quantization", "--kv-cache-dtype", "--attention-backend", "--seed"),
            *("--gpu-memory-utilization", "--max-num-batched-tokens", "--block-size"),
        }
    ),
    switches=frozenset({"--enforce-eager", "--enable-expert-parallel", "--async-scheduling"}),
    promised=promised,
    private=private,
    environment=environment,
    has_ids=False,
)
