"""Driver, GPUs, confidential mode and TEE devices: what hardware attestation needs.

They decide only when the owner wants to serve as attested hardware; else they inform.
"""

from dataclasses import dataclass
from pathlib import Path

from worker.doctor.check import Check, failed, passed, unknown
from worker.gpu.confidential import obstacles
from worker.gpu.port import Gpu, GpuStatus

TDX_GUEST, SEV_GUEST = "/dev/tdx_guest", "/dev/sev-guest"
TSM = "/sys/kernel/config/tsm/report"
DSTACK = "/var/run/dstack.sock"
_GIB = 2**30
_HOT_CELSIUS = 90
"""Where data centre GPUs begin to slow down."""
_INSTALL = "install NVIDIA's data centre driver, and in a container pass --gpus all"
_DRIVER_FIXES = (
    ("not loaded", "modprobe nvidia; where that fails, dmesg | grep -i nvrm says why"),
    ("may not talk", "let this user open /dev/nvidiactl and /dev/nvidia0, or run as one who may"),
    ("different versions", "restart the machine"),
)
"""By words of the cause."""
_CC_CAUSES = frozenset({"unknown", "off", "simulated", "unavailable"})


@dataclass(frozen=True, slots=True)
class Found:
    """What was seen of GPUs: their status, or why there is none."""

    status: GpuStatus | None
    cause: str = ""


def check_driver(found: Found, *, required: bool) -> Check:
    """The driver and its library."""
    if found.status is None:
        fix = next((fix for word, fix in _DRIVER_FIXES if word in found.cause), _INSTALL)
        if not required:
            return unknown("driver", found.cause, fix=fix)
        return failed("driver", found.cause, fix=fix)
    return passed("driver", f"NVIDIA driver {found.status.driver or 'of unknown version'}")


def check_gpus(found: Found, *, required: bool) -> Check:
    """Each GPU: there, whole, not too hot."""
    if found.status is None:
        return unknown("gpus", "without a driver no GPU is seen", required=required)
    gpus = found.status.gpus
    if not gpus:
        fix = "pass a GPU through to this machine"
        return failed("gpus", "the driver sees no GPU", fix=fix, required=required)
    troubles = [trouble for gpu in gpus if (trouble := _trouble(gpu))]
    if troubles:
        fix = "nvidia-smi -q tells more; a GPU with XID or ECC errors wants a reset or a repair"
        return failed("gpus", "; ".join(troubles), fix=fix, required=required)
    return passed("gpus", "; ".join(_shown(gpu) for gpu in gpus), required=required)


def _trouble(gpu: Gpu) -> str:
    if gpu.xid is not None:
        return f"GPU {gpu.index} reported the error XID {gpu.xid}"
    if gpu.ecc_uncorrected:
        return f"GPU {gpu.index} has {gpu.ecc_uncorrected} memory errors that ECC did not mend"
    if gpu.temperature is not None and gpu.temperature >= _HOT_CELSIUS:
        return f"GPU {gpu.index} is at {gpu.temperature} °C"
    return ""


def _shown(gpu: Gpu) -> str:
    memory = f", {gpu.memory_total / _GIB:.0f} GiB" if gpu.memory_total else ""
    return f"GPU {gpu.index}: {gpu.name or 'unnamed'}{memory}"


def check_confidential(found: Found, *, required: bool) -> Check:
    """Confidential computing on the GPUs."""
    return _mode("gpu-cc", found, _CC_CAUSES, "confidential computing is on", required=required)


def check_devtools(found: Found, *, required: bool) -> Check:
    """Developer tools, which look into memory."""
    fine = "devtools mode is off"
    return _mode("gpu-devtools", found, frozenset({"devtools"}), fine, required=required)


def _mode(name: str, found: Found, causes: frozenset[str], fine: str, *, required: bool) -> Check:
    if found.status is None:
        return unknown(name, "without a driver nobody can tell", required=required)
    wrong = [one for one in obstacles(found.status.confidential) if one.cause in causes]
    if not wrong:
        return passed(name, fine, required=required)
    detail, fix = "; ".join(one.sentence for one in wrong), wrong[0].fix
    if not required:
        return unknown(name, detail, fix=fix)
    return failed(name, detail, fix=fix)


def check_ready(found: Found) -> Check:
    """Whether confidential GPUs take work yet."""
    state = found.status.confidential if found.status else None
    if state is None or not state.feature or state.ready is None:
        return unknown("gpu-ready", "only confidential GPUs wait to be made ready")
    if state.ready:
        return passed("gpu-ready", "the GPUs take work", required=False)
    fix = "nvidia-smi conf-compute -srs 1, once they are attested"
    return failed("gpu-ready", "the GPUs refuse work until they are made ready", fix=fix)


def check_tee(present: frozenset[str], *, required: bool) -> Check:
    """What this machine can make a CPU quote with."""
    if TSM in present:
        guest = {TDX_GUEST: "TDX", SEV_GUEST: "SEV-SNP"}
        kinds = [kind for path, kind in guest.items() if path in present]
        return passed("tee", f"configfs-tsm quotes ({' '.join(kinds) or 'unknown kind'})")
    if DSTACK in present:
        return passed("tee", "a dstack agent quotes")
    devices = sorted(present & {TDX_GUEST, SEV_GUEST})
    if devices:
        mount = "mount -t configfs none /sys/kernel/config"
        fix = f"{mount} (Linux 6.7 or later); in a container mount {TSM}"
        detail = f"{devices[0]} is there, configfs-tsm is not"
        return failed("tee", detail, fix=fix, required=required)
    detail = "this is no confidential virtual machine: neither TDX nor SEV-SNP is seen"
    if not required:
        return unknown("tee", detail)
    fix = "start the worker inside a TDX or SEV-SNP guest"
    return failed("tee", detail, fix=fix)


def tee_devices(root: Path = Path("/")) -> frozenset[str]:
    """Which of the places of attestation hardware there are."""
    places = (TDX_GUEST, SEV_GUEST, TSM, DSTACK)
    return frozenset(place for place in places if (root / place.lstrip("/")).exists())
