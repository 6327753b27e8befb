"""What a policy comes to, in sentences: what passes, what is refused, what stays unknown (SPEC 17).

Written from the parsed rules alone, so that it tells what will be held against a worker and not
what a file's author meant.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bombyx.attestation.platform_rules import (
    Listed,
    NvidiaPolicy,
    SnpPolicy,
    TdxPolicy,
    VtpmPolicy,
)
from bombyx.attestation.policy import Policy
from bombyx.attestation.policy_names import PLATFORMS, SIMULATED

_LONG_SECONDS = 100 * 365 * 86400
_DAY = 86400


@dataclass(frozen=True, slots=True)
class Explanation:
    """Sentences for people, in the order of the rules."""

    passes: tuple[str, ...]
    refused: tuple[str, ...]
    unknown: tuple[str, ...]


def explain(policy: Policy) -> Explanation:
    """What becomes of workers and evidence under a policy."""
    tell = {"tdx": _tdx, "sev-snp": _snp, "vtpm": _vtpm, SIMULATED: _simulated}
    told = [tell[name](policy) for name in policy.platforms]
    gpus = _nvidia(policy.nvidia or NvidiaPolicy())
    return Explanation(
        passes=(*_joined(told, 0), *gpus.passes, *_gateways(policy), *_models(policy)),
        refused=(*_others(policy), *_joined(told, 1), *gpus.refused, *_without_models(policy)),
        unknown=(*_joined(told, 2), *gpus.unknown, *_gateways_open(policy), _ALWAYS_OPEN),
    )


_ALWAYS_OPEN = "Whether somebody taps the memory bus: no evidence can show it."
_DEBUGGED = "any machine that a debugger can look into"


def _joined(told: list[Explanation], which: int) -> Iterator[str]:
    for one in told:
        yield from (one.passes, one.refused, one.unknown)[which]


def _others(policy: Policy) -> Iterator[str]:
    if not policy.platforms:
        yield "Every worker: the policy names no platform."
    if policy.gateway is not None and not policy.gateway.platforms:
        yield "Every gateway's evidence: the policy's table of gateways names no platform."
    left = [name for name in PLATFORMS if name not in policy.platforms]
    if policy.platforms and left:
        yield f"Workers on {_or(left)}: the policy does not name the platform."
    yield f"On every platform {_DEBUGGED}, and evidence that is expired, revoked or altered."


def _tdx(policy: Policy) -> Explanation:
    rules = policy.tdx or TdxPolicy()
    passes = [f"Intel TDX with patch level {_or(rules.accepted_tcb)}{_grace(rules)}."]
    refused = []
    if rules.min_evaluation:
        refused.append(f"TDX below Intel's evaluation number {rules.min_evaluation}.")
    if rules.rejected_advisories:
        refused.append(f"TDX affected by {_or(rules.rejected_advisories)}.")
    whole = rules.images is not None or None not in (
        rules.mr_td, rules.rtmr0, rules.rtmr1, rules.rtmr2
    )  # fmt: skip
    images = _images("TDX", whole, rules.images if rules.images is not None else rules.mr_td)
    unknown = [] if rules.platforms is not None else [_any_machine("TDX")]
    return _all(Explanation((*passes,), (*refused,), (*unknown,)), images)


def _grace(rules: TdxPolicy) -> str:
    if not any(status.startswith("OutOfDate") for status in rules.accepted_tcb):
        return ""
    if rules.grace_seconds > _LONG_SECONDS:
        return ", however old"
    return f", out of date for {rules.grace_seconds // _DAY} days at most"


def _snp(policy: Policy) -> Explanation:
    rules = policy.snp or SnpPolicy()
    keys = _or([key.upper() for key in rules.signing_keys])
    passes = [f"AMD SEV-SNP on {_or(rules.generations)}, its report signed by a {keys}."]
    refused = [f"SEV-SNP of which {part} is below {least}." for part, least in rules.min_tcb]
    if "milan" not in rules.generations:
        refused.append("SEV-SNP on milan: keys of that generation were extracted by software.")
    for what, bits in (("guest policy", rules.guest_policy), ("platform", rules.platform_info)):
        if bits:
            refused.append(f"SEV-SNP whose {what} lacks the bits {bits:#x}.")
    if rules.require_revocation:
        refused.append("SEV-SNP without AMD's current revocation list.")
    open_ = "Whether AMD revoked an SEV-SNP machine's authority, where its list is not at hand."
    unknown = [] if rules.require_revocation else [open_]
    unknown += [] if rules.platforms is not None else [_any_machine("SEV-SNP")]
    images = _images("SEV-SNP", rules.measurements is not None, rules.measurements)
    return _all(Explanation((*passes,), (*refused,), (*unknown,)), images)


def _vtpm(policy: Policy) -> Explanation:
    rules = policy.vtpm or VtpmPolicy()
    pinned = bool(rules.keys and rules.pcrs)
    registers = ", ".join(str(number) for number, _ in rules.pcrs)
    passes = f"A vTPM with one of {len(rules.keys)} listed keys and listed registers {registers}."
    return Explanation(
        (passes,) if pinned else (),
        () if pinned else ("Every vTPM: the policy lists no key, or no register.",),
        ("Whether the owner of a machine with a vTPM reads its memory: nothing prevents it.",),
    )


def _simulated(policy: Policy) -> Explanation:
    rules = policy.simulated
    lists = {"root": rules.roots, "image": rules.mr_td, "patch level": rules.accepted_tcb}
    missing = [name for name, values in lists.items() if not values]
    said = (
        f"Simulated workers under {len(rules.roots)} listed roots: no hardware protects what "
        "they read."
    )
    refused = f"Every simulated worker: the policy lists no {_or(missing)}."
    return Explanation(
        () if missing else (said,),
        (refused,) if missing else (),
        ("Everything that only hardware can show, of a simulated worker.",),
    )


def _nvidia(rules: NvidiaPolicy) -> Explanation:
    counted = "as many GPUs as a worker shows" if rules.count is None else f"{rules.count} GPUs"
    refused = []
    if rules.min_driver is not None:
        refused.append(f"GPUs with a driver older than {rules.min_driver}.")
    for what, listed in (("VBIOS", rules.vbios), ("device", rules.devices)):
        if listed is not None:
            refused.append(f"GPUs whose {what} is none of {len(listed)} listed ones.")
    if rules.require_firmware:
        refused.append("GPUs without the vendor's references of their driver and VBIOS.")
    if rules.require_revocation:
        refused.append("GPUs without NVIDIA's current answers that none of them is revoked.")
    open_ = ["Whether GPUs belong to the CPU beside them: only the measured image ties them."]
    if rules.count is None:
        open_.append("Whether a worker that shows no GPU has one.")
    if not rules.require_firmware:
        open_.append("Whether a GPU's firmware is the vendor's, where no reference is at hand.")
    if not rules.require_revocation:
        open_.append("Whether NVIDIA revoked a GPU, where none of its answers is at hand.")
    passes = f"NVIDIA {_or(rules.architectures)}, {counted}."
    return Explanation((passes,), (*refused,), (*open_,))


def _images(platform: str, whole: bool, listed: Listed) -> Explanation:  # noqa: FBT001 - private
    if whole and listed:
        return Explanation((f"{platform} images: the {len(listed)} listed ones.",), (), ())
    why = (
        f"Every {platform} worker: the policy does not list a whole image. (Raw evidence passes, "
        "its image unknown.)"
    )
    none = f"Every {platform} worker: the policy's list of images is empty."
    return Explanation((), (none if whole else why,), ())


def _gateways(policy: Policy) -> Iterator[str]:
    pinned = policy.gateways
    yield "Any gateway." if pinned is None else f"Gateways with one of {len(pinned)} listed keys."
    if policy.channel_keys:
        yield f"Payment to gateways with one of {len(policy.channel_keys)} listed channel keys."
    if policy.gateway is not None and policy.gateway.platforms:
        yield f"Gateways that prove themselves on {_or(policy.gateway.platforms)}, listed likewise."


def _gateways_open(policy: Policy) -> Iterator[str]:
    if policy.gateway is None:
        yield "What a gateway runs: the policy has no rules for its evidence."


def _models(policy: Policy) -> Iterator[str]:
    for model in policy.models:
        if model.weights and model.engines:
            yield (
                f"The model {model.name} with {len(model.weights)} listed weights and "
                f"{len(model.engines)} listed engines."
            )


def _without_models(policy: Policy) -> Iterator[str]:
    if not policy.models:
        yield "Every worker, whatever its platform: the policy lists no model."
    for model in policy.models:
        if not (model.weights and model.engines):
            yield f"The model {model.name}: the policy lists no weights, or no engines."


def _any_machine(platform: str) -> str:
    return f"Which physical machine is behind a worker on {platform}: the policy lists none."


def _all(*parts: Explanation) -> Explanation:
    return Explanation(*((*_joined([*parts], which),) for which in range(3)))


def _or(names: Iterable[str]) -> str:
    *most, last = [*names] or ["nothing"]
    return f"{', '.join(most)} or {last}" if most else last
