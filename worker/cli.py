"""`bombyx worker`: flags to settings, then a process that serves until it is told to stop."""

from pathlib import Path
from typing import Annotated

import typer

from bombyx.cli.output import JsonOption, Output
from bombyx.settings import load_settings, state_directory
from worker.control.command import pause, resume, status
from worker.settings import WorkerSettings

_ENGINES = "auto, sglang, vllm, llamacpp, scripted or openai."
_MODEL = "GGUF file or folder of a model, or a name of the store."
_Nano = Annotated[int | None, typer.Option(help="Nano-GRAM per million tokens.")]


worker = typer.Typer(
    help="Run a worker, and give orders to one that runs.", invoke_without_command=True
)


@worker.callback()
def serve_worker(  # noqa: PLR0913 - one parameter per flag
    context: typer.Context,
    *,
    gateway: Annotated[list[str] | None, typer.Option(help="Gateway to serve; repeatable.")] = None,
    engine: Annotated[str | None, typer.Option(help=_ENGINES)] = None,
    engine_url: Annotated[str | None, typer.Option(help="Server of engine openai.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of the model to serve.")] = None,
    model_path: Annotated[Path | None, typer.Option(help=_MODEL)] = None,
    also: Annotated[
        list[str] | None, typer.Option(help="One more model, NAME=PATH; repeatable.")
    ] = None,
    engine_python: Annotated[
        Path | None, typer.Option(help="Python of SGLang's or vLLM's environment.")
    ] = None,
    wallet: Annotated[str | None, typer.Option(help="Address that earnings go to.")] = None,
    payout_key: Annotated[
        str | None, typer.Option(help="The owner's key, of `bombyx owner init`.")
    ] = None,
    price: Annotated[
        int | None,
        typer.Option(
            help="Nano-GRAM per million tokens of answers; those of prompts cost a third of it, "
            "cached ones a twelfth, unless named."
        ),
    ] = None,
    price_prompt: _Nano = None,
    price_cached: _Nano = None,
    price_completion: _Nano = None,
    price_reasoning: _Nano = None,
    platform: Annotated[
        str | None, typer.Option(help="auto, tdx, sev-snp, vtpm or simulated.")
    ] = None,
    tpm_device: Annotated[
        Path | None, typer.Option(help="Of platform vtpm: a TPM's device or socket.")
    ] = None,
    collateral: Annotated[
        Path | None, typer.Option(help="A file of collateral, in place of the gateway's.")
    ] = None,
    simulated_root: Annotated[
        Path | None, typer.Option(help="Root of a simulated network, shared by its workers.")
    ] = None,
    slots: Annotated[int | None, typer.Option(help="Requests that run at once.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of engine llamacpp.")] = None,
    context_tokens: Annotated[
        int | None, typer.Option("--context", help="Tokens per request.")
    ] = None,
    grace_seconds: Annotated[int | None, typer.Option(help="For requests at the end.")] = None,
    gpus: Annotated[str | None, typer.Option(help="GPUs such as 0-3,4-7.")] = None,
    state: Annotated[Path | None, typer.Option(help="Folder for journal and models.")] = None,
    config: Annotated[Path | None, typer.Option(help="The settings file to read.")] = None,
    describe: Annotated[
        bool, typer.Option("--describe", help="Tell what this worker would attest, then end.")
    ] = False,
    die_with_parent: Annotated[
        bool, typer.Option("--die-with-parent", hidden=True, help="Stop with the starting process.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a worker: open sealed requests beside a model, and sign what was done."""
    if context.invoked_subcommand is not None:
        return  # an order to a worker that runs, with options of its own
    import uvloop  # noqa: PLC0415 - keeps `bombyx --help` quick

    from worker.gpu.groups import parse_groups, use_group  # noqa: PLC0415
    from worker.gpu.supervise import Crew, serve_groups  # noqa: PLC0415
    from worker.last_words import last_words  # noqa: PLC0415
    from worker.lifeline import tie_to_parent  # noqa: PLC0415
    from worker.models.store import at_hand  # noqa: PLC0415
    from worker.process import prepare, serve  # noqa: PLC0415

    if die_with_parent:
        tie_to_parent()
    flags = {
        "gateway": tuple(gateway) if gateway else None,
        "engine": engine,
        "engine_url": engine_url,
        "model": model,
        "model_path": model_path,
        "also": tuple(also) if also else None,
        "engine_python": engine_python,
        "wallet": wallet,
        "payout_key": payout_key,
        "price": price,
        "price_prompt": price_prompt,
        "price_cached": price_cached,
        "price_completion": price_completion,
        "price_reasoning": price_reasoning,
        "platform": platform,
        "tpm_device": tpm_device,
        "collateral": collateral,
        "simulated_root": simulated_root,
        "slots": slots,
        "threads": threads,
        "context": context_tokens,
        "grace_seconds": grace_seconds,
        "gpus": gpus,
    }
    settings = at_hand(load_settings(WorkerSettings, "worker", flags, config=config)[0])
    output = Output(as_json=as_json)
    if describe:
        from worker.describe import describe as tell  # noqa: PLC0415

        uvloop.run(tell(settings, state_directory(state), output))
        return
    groups = parse_groups(settings.gpus)
    if len(groups) > 1:
        uvloop.run(serve_groups(groups, Crew.of(flags, settings, state, config=config), output))
        return
    for group in groups:
        use_group(group)
    folder = state_directory(state)
    with last_words(folder):
        prepared = prepare(settings, folder, output)
        uvloop.run(serve(settings, prepared, output))


for _order in (status, pause, resume):
    worker.command()(_order)
