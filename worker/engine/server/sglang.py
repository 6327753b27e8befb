"""SGLang: its flags, and why each is set (SPEC 2.6, 12).

Never set: whatever logs requests or dumps them after a crash, runs code of the model's, takes
templates or processors from requests, or loads from another machine.
"""

from pathlib import Path

from worker.engine.flavour import Flavour
from worker.engine.server.plan import Brand, Device, Keys, ServerPlan

NOWHERE = "media.invalid"
"""Media are fetched from these hosts alone; without any, from all of them. This one cannot be."""
PLAIN_CPU = "BOMBYX_SGLANG_PLAIN_CPU"
_CPU_TOKENS = 16_384
"""Of cache, on a machine whose memory nobody measured for it."""


def promised(plan: ServerPlan, context: int) -> list[str]:
    """What the record attests."""
    flags = [
        *("--context-length", str(context)),
        # OpenAI's defaults: a model's own would change answers that name no temperature.
        *("--sampling-defaults", "openai"),
        *("--grammar-backend", "xgrammar"),
        # A small model may write line breaks between two words of JSON until its limit.
        "--constrained-json-disable-any-whitespace",
        "--enable-cache-report",
        "--stream-response-default-include-usage",
        *("--return-input-ids", "--return-output-ids"),
        *("--allowed-media-domains", NOWHERE),
    ]
    if plan.tool_parser:
        flags += ["--tool-call-parser", plan.tool_parser]
    if plan.reasoning_parser:
        flags += ["--reasoning-parser", plan.reasoning_parser]
    if plan.device is Device.CPU:
        flags += ["--device", "cpu", "--attention-backend", "torch_native"]
        flags += ["--cuda-graph-backend-decode=disabled", "--cuda-graph-backend-prefill=disabled"]
    return [*flags, *plan.flags]


def private(plan: ServerPlan, port: int, keys: Keys, checksums: Path) -> list[str]:
    """What differs at each start, or changes no answer."""
    return [
        *("--model-path", str(plan.folder), "--served-model-name", plan.model),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--api-key", keys.api, "--admin-api-key", keys.admin),
        *("--model-checksum", str(checksums)),
        *("--max-running-requests", str(plan.slots)),
        *("--max-queued-requests", str(max(1, plan.max_waiting))),
        "--enable-metrics",
        # From `info` on it logs its own arguments, keys included.
        *("--log-level", "error", "--log-level-http", "error"),
        *(("--max-total-tokens", str(_CPU_TOKENS)) if plan.device is Device.CPU else ()),
    ]


def environment(plan: ServerPlan, _: Keys) -> dict[str, str]:
    """Beside what every server gets."""
    if plan.device is Device.CPU:
        # The built-in CPU engine needs kernels that no package index has.
        return {PLAIN_CPU: "1", "SGLANG_USE_CPU_ENGINE": "0"}
    return {}


SGLANG = Brand(
    name="sglang",
    package="sglang",
    module="sglang.launch_server",
    flavour=Flavour.SGLANG,
    ready_path="/ready",
    deep_path="/health_generate",
    flags=frozenset(
        {
            *("--tp-size", "--dp-size", "--ep-size", "--pp-size", "--base-gpu-id", "--random-seed"),
            *("--dtype", "--quantization", "--kv-cache-dtype", "--attention-backend"),
            *("--mem-fraction-static", "--max-total-tokens", "--chunked-prefill-size"),
            *("--max-prefill-tokens", "--schedule-policy", "--page-size", "--stream-interval"),
            *("--cuda-graph-max-bs-decode", "--watchdog-timeout", "--num-continuous-decode-steps"),
        }
    ),
    switches=frozenset(
        {"--enable-deterministic-inference", "--disable-radix-cache", "--enable-mixed-chunk"}
    ),
    promised=promised,
    private=private,
    environment=environment,
    has_ids=True,
)
