"""Which engine `auto` is, and the sentence that says why (SPEC 2.6). Pure."""

from dataclasses import dataclass

from bombyx.errors import SetupError

GPU_HELP = "llama.cpp serves a GGUF file without one (--model-path FILE.gguf)"


@dataclass(frozen=True, slots=True)
class Machine:
    """What was found: a folder of a model, GPUs, servers by name and version, best first."""

    has_folder: bool
    gpus: int = 0
    may_use_cpu: bool = False
    servers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """The engine and why it is this one."""

    engine: str
    reason: str


def choose(asked: str, machine: Machine) -> Choice:
    """What `asked` comes to; raises `SetupError` where nothing here can serve the model."""
    if asked != "auto":
        return Choice(asked, "as the settings say")
    if not machine.has_folder:
        return Choice("llamacpp", "the model is no folder of safetensors")
    if not machine.gpus and not machine.may_use_cpu:
        raise SetupError(f"a folder of safetensors needs a GPU and no driver shows one; {GPU_HELP}")
    if not machine.servers:
        raise SetupError(
            "a folder of safetensors needs SGLang or vLLM: name the Python of its environment "
            "with --engine-python"
        )
    name, version = machine.servers[0]
    where = f"{machine.gpus} GPUs are" if machine.gpus != 1 else "1 GPU is"
    where = f"{where} here" if machine.gpus else "the CPU will do"
    return Choice(name, f"{where}, and {name} {version} is installed")
