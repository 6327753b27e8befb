"""`bombyx worker`: flags to settings, then a process that serves until it is told to stop."""

from pathlib import Path
from typing import Annotated

import typer

from bombyx.cli.output import JsonOption, Output
from bombyx.settings import load_settings, state_directory
from worker.settings import WorkerSettings

_Nano = Annotated[int | None, typer.Option(help="Nano-GRAM per million tokens.")]


def worker(  # noqa: PLR0913 - one parameter per flag
    *,
    gateway: Annotated[list[str] | None, typer.Option(help="Gateway to serve; repeatable.")] = None,
    engine: Annotated[str | None, typer.Option(help="llamacpp, scripted or openai.")] = None,
    engine_url: Annotated[str | None, typer.Option(help="Server of engine openai.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of the model to serve.")] = None,
    model_path: Annotated[Path | None, typer.Option(help="GGUF file of engine llamacpp.")] = None,
    wallet: Annotated[str | None, typer.Option(help="Address that earnings go to.")] = None,
    price_prompt: _Nano = None,
    price_cached: _Nano = None,
    price_completion: _Nano = None,
    price_reasoning: _Nano = None,
    simulated_root: Annotated[
        Path | None, typer.Option(help="Root of a simulated network, shared by its workers.")
    ] = None,
    slots: Annotated[int | None, typer.Option(help="Requests that run at once.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of engine llamacpp.")] = None,
    context: Annotated[int | None, typer.Option(help="Tokens per request, llamacpp.")] = None,
    grace_seconds: Annotated[int | None, typer.Option(help="For requests at the end.")] = None,
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
    import uvloop  # noqa: PLC0415 - keeps `bombyx --help` quick

    from worker.lifeline import tie_to_parent  # noqa: PLC0415
    from worker.process import prepare, serve  # noqa: PLC0415

    if die_with_parent:
        tie_to_parent()
    flags = {
        "gateway": tuple(gateway) if gateway else None,
        "engine": engine,
        "engine_url": engine_url,
        "model": model,
        "model_path": model_path,
        "wallet": wallet,
        "price_prompt": price_prompt,
        "price_cached": price_cached,
        "price_completion": price_completion,
        "price_reasoning": price_reasoning,
        "simulated_root": simulated_root,
        "slots": slots,
        "threads": threads,
        "context": context,
        "grace_seconds": grace_seconds,
    }
    settings, _ = load_settings(WorkerSettings, "worker", flags, config=config)
    output = Output(as_json=as_json)
    if describe:
        from worker.describe import describe as tell  # noqa: PLC0415

        uvloop.run(tell(settings, state_directory(state), output))
        return
    prepared = prepare(settings, state_directory(state), output)
    uvloop.run(serve(settings, prepared, output))
