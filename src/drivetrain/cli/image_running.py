"""``run``, ``train``, ``serve`` and ``exec`` with an image: find it, hand it to an engine or unpack it, start it, ask it."""

from __future__ import annotations

import base64
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeAlias

import click
import httpx
from click.core import ParameterSource

from drivetrain.cli.image_options import TransferProgress, host_platform, readable, shown, transfers
from drivetrain.cli.image_words import ImageFlags
from drivetrain.cli.opening import parse_variables
from drivetrain.cli.outputs import Printer, deliver_summary, has_files, write_result
from drivetrain.cli.prediction import Inputs, Order
from drivetrain.cli.progress import progress_on
from drivetrain.cli.replacement import replace_process
from drivetrain.cli.terminal import Terminal
from drivetrain.dialects.cog.openapi_reading import signature_from_document
from drivetrain.environments.environment import Progress
from drivetrain.images.descriptor import platform_of
from drivetrain.images.engine_run import Container, Running, has_image, image_in, load_image, run_command, started
from drivetrain.images.engines import Engine, find_engine
from drivetrain.images.image import Manifest
from drivetrain.images.reference import Reference, parse_reference
from drivetrain.images.store import select_platform
from drivetrain.images.transfer import Transfers
from drivetrain.images.unpack_run import UNPACK, UnpackedRun, check_host
from drivetrain.images.unpacked import UnpackedLayers
from drivetrain.model.errors import Misuse, OutsideFailed, ProjectError
from drivetrain.model.inputs import InputChecker, replace_places
from drivetrain.model.json_value import Pointer, put_in
from drivetrain.model.prediction import (
    Completed,
    Failure,
    Log,
    Output,
    OutputFile,
    OutputValue,
    Prediction,
    PredictionId,
    Source,
    Started,
    Status,
)
from drivetrain.model.project import Mode
from drivetrain.model.signature import Signature
from drivetrain.serving.media_type import guess_suffix, guess_type
from drivetrain.settings import Settings, read_settings

#: Tells servers of Cog to write for people, and little.
_QUIET = ("COG_LOG_LEVEL=warning", "LOG_FORMAT=console")


@dataclass(frozen=True, kw_only=True)
class InEngine:
    """An image that an engine has."""

    engine: Engine
    running: Running


Prepared: TypeAlias = InEngine | UnpackedRun


def prepare(
    text: str,
    flags: ImageFlags,
    terminal: Terminal,
    *,
    variables: Sequence[str] = (),
    ports: Sequence[str] = (),
    arguments: Sequence[str] = (),
) -> Prepared:
    """Find an image, here, in an engine or in its registry, and see that an engine has it, or that it is unpacked.

    Raises:
        ImageNotFound: It is nowhere.
        OutsideFailed: There is no engine.
    """
    if flags.engine == UNPACK:
        return _unpacked(text, flags, terminal, variables=variables, ports=ports, arguments=arguments)
    settings = read_settings(os.environ)
    engine = find_engine(flags.engine, settings)
    reference = parse_reference(text)
    moves = transfers(settings)
    manifest = _manifest(moves, reference, flags)
    if manifest is None and has_image(engine, shown(reference)):
        image, name = image_in(engine, shown(reference)), shown(reference)
    else:
        with progress_on(terminal) as progress:
            manifest = manifest or _pulled(moves, reference, flags, settings, progress)
            image = moves.store.image(manifest)
            # By its digest: the engine may have another image under the name.
            name = f"localhost/drivetrain/image:{manifest.descriptor.digest[7:31]}"
            if not has_image(engine, name):
                progress.step(f"Handing the image to {engine.name}")
                load_image(engine, moves, manifest, name)
    running = Running(
        name=name,
        image=image,
        gpus=flags.gpus,
        platform=flags.platform,
        variables=parse_variables((*_QUIET, *variables)),
        ports=ports,
        arguments=arguments,
    )
    _warn_without_gpu(running, terminal)
    return InEngine(engine=engine, running=running)


def _unpacked(
    text: str,
    flags: ImageFlags,
    terminal: Terminal,
    *,
    variables: Sequence[str],
    ports: Sequence[str],
    arguments: Sequence[str],
) -> UnpackedRun:
    """Find an image, here or in its registry, and see that it is unpacked."""
    check_host()
    settings = read_settings(os.environ)
    platform = platform_of(flags.platform) if flags.platform else host_platform()
    if not platform.is_satisfied_by(host_platform()):
        raise Misuse(
            f"--engine {UNPACK} runs images for {host_platform()}, not for {platform}", hint="docker and podman emulate others"
        )
    reference = parse_reference(text)
    moves = transfers(settings)
    layers = UnpackedLayers(moves.store.directory / "unpacked", moves.store)
    layers.tidy()
    with progress_on(terminal) as progress:
        manifest = _manifest(moves, reference, flags) or _pulled(moves, reference, flags, settings, progress)
        image = moves.store.image(manifest)
        if not layers.has(image):
            progress.step(f"Unpacking {shown(reference)}")
            transfers(settings, watcher=TransferProgress(progress)).complete(manifest)
        unpacked = layers.unpack(image, lambda layer: progress.detail(f"a layer of {readable(layer.size)}"))
    if arguments and ports:
        terminal.note(f"--publish has no meaning with --engine {UNPACK}: the command's ports are this machine's")
        ports = ()
    running = Running(
        name=shown(reference),
        image=image,
        gpus=flags.gpus,
        variables=parse_variables((*_QUIET, *variables)),
        ports=ports,
        arguments=arguments,
    )
    _warn_without_gpu(running, terminal)
    run = UnpackedRun(image=unpacked, running=running, environ=settings.environ)
    if ports and not run.hides_address:
        terminal.warn("an old release of Cog made the image: its server listens on every address of this machine")
    return run


def _pulled(moves: Transfers, reference: Reference, flags: ImageFlags, settings: Settings, progress: Progress) -> Manifest:
    progress.step(f"Bringing {shown(reference)}")
    watched = transfers(settings, watcher=TransferProgress(progress))
    watched.pull(reference, platform_of(flags.platform) if flags.platform else host_platform())
    manifest = _manifest(moves, reference, flags)
    assert manifest is not None
    return manifest


def _warn_without_gpu(running: Running, terminal: Terminal) -> None:
    if running.wants_gpus and running.gpus is None and not Path("/proc/driver/nvidia/version").exists():
        terminal.warn("the model asks for a GPU, and this machine has no NVIDIA driver; it runs on the CPU")


def _manifest(moves: Transfers, reference: Reference, flags: ImageFlags) -> Manifest | None:
    found = moves.store.resolve(reference)
    if found is not None and found.is_index:
        platform = platform_of(flags.platform) if flags.platform else host_platform()
        return moves.store.manifest(select_platform(found, platform, shown(reference)).digest)
    return found


def become(prepared: Prepared, *flags: str) -> None:
    """Make way for the engine's command, in this terminal."""
    if isinstance(prepared, UnpackedRun):
        prepared.become(terminal="--tty" in flags)
    command = run_command(prepared.engine, prepared.running, *flags)
    replace_process(command[0], command, prepared.engine.environ)


def serve_image(text: str, flags: ImageFlags, ctx: click.Context, terminal: Terminal) -> int:
    """Serve an image in the foreground, on the address that the options of ``serve`` name; does not come back."""
    host, port = ctx.params["host"], ctx.params["port"]
    address = f"[{host}]" if ":" in host else host
    prepared = prepare(text, flags, terminal, variables=ctx.params["variables"], ports=(f"{address}:{port or ''}",))
    running = prepared.running
    words = _server_words(ctx, running.is_ours, terminal)
    serving = replace(running, arguments=("python", "-m", "cog.server.http", *words))
    become(replace(prepared, running=serving), "--interactive")
    return 1


#: Options of ``serve`` that are about this machine, and those that Cog's server has too.
_OF_THIS_MACHINE = frozenset({"words", "host", "port", "config_name", "variables", "realisation", "engine", "gpus", "platform"})
_OF_COG = frozenset({"upload_url", "mode", "ignores_sigterm"})


def _server_words(ctx: click.Context, is_ours: bool, terminal: Terminal) -> Iterator[str]:
    """The options that were given, for the server in the image."""
    for parameter in ctx.command.params:
        name = parameter.name or ""
        if name in _OF_THIS_MACHINE or ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        option = parameter.opts[-1]
        if not is_ours and name not in _OF_COG:
            terminal.note(f"{option} has no meaning for the server that Cog has put into the image")
            continue
        value = ctx.params.get(name)
        if isinstance(parameter, click.Option) and parameter.is_flag:
            yield option
        else:
            yield from (option, str(value).lower() if isinstance(value, bool) else str(value))


def terminal_flags() -> list[str]:
    """Flags that connect a container to this terminal as far as there is one."""
    return ["--interactive", "--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else ["--interactive"]


def carry_out(text: str, order: Order, flags: ImageFlags, variables: Sequence[str], terminal: Terminal) -> int:
    """Run predictions or trainings in a container; the exit status."""
    prepared = prepare(text, flags, terminal, variables=variables, ports=("127.0.0.1:",))
    running = prepared.running
    trains = order.mode is Mode.TRAIN
    signature = signature_from_document(running.schema, trains=trains)
    if signature is not None:
        for inputs in order.inputs:
            inputs.check(signature)
    if trains and not running.is_ours:
        running = replace(running, arguments=("python", "-m", "cog.server.http", "--x-mode", "train"))
    with _started(replace(prepared, running=running)) as container:
        container.wait_until_ready(order.setup_timeout, terminal.text)
        if signature is None:
            document = container.client.get("/openapi.json").json()
            signature = signature_from_document(document, trains=trains)
        if signature is None:
            raise ProjectError(f"the image '{text}' does not say which inputs it takes", hint="a very old Cog built it")
        caller = _Caller(container, order, signature, terminal)
        return max([caller.run(inputs, number) for number, inputs in enumerate(order.inputs, start=1)], default=0)


def _started(prepared: Prepared) -> AbstractContextManager[Container]:
    return prepared.started() if isinstance(prepared, UnpackedRun) else started(prepared.engine, prepared.running)


class _Caller:
    def __init__(self, container: Container, order: Order, signature: Signature, terminal: Terminal) -> None:
        self._container = container
        self._order = order
        self._signature = signature
        self._terminal = terminal

    def run(self, inputs: Inputs, number: int) -> int:
        path = "/trainings" if self._order.mode is Mode.TRAIN else "/predictions"
        try:
            response = self._container.client.post(path, json={"input": self._sent(inputs)})
            document = response.json()
        except (httpx.HTTPError, ValueError) as error:
            self._terminal.text(self._container.logs())
            raise OutsideFailed(f"the container ended in the middle of it: {error}", hint="what it wrote is above") from error
        if not response.is_success or "status" not in document:
            raise ProjectError(f"the model refuses the prediction ({response.status_code}): {document.get('detail') or document}")
        with tempfile.TemporaryDirectory(prefix="drivetrain-run-") as directory:
            return self._deliver(self._prediction(document, Path(directory)), number)

    def _sent(self, inputs: Inputs) -> Mapping[str, Any]:
        """Inputs as JSON; files of this machine travel as data URLs."""
        values = inputs.check(self._signature)
        checked = InputChecker(self._signature).check(values, local_files=True, strict=True)
        return replace_places(checked.values, {place: _data_url(Path(place.value)) for place in checked.files if place.is_local})

    def _prediction(self, document: Mapping[str, Any], directory: Path) -> Prediction:
        """The reply as a prediction, its files decoded."""
        now = datetime.now(timezone.utc)
        streams = self._signature.streams
        prediction = Prediction(id=PredictionId(str(document.get("id") or "")), input={}, created_at=now, streams=streams)
        prediction.apply(Started(at=_time(document.get("started_at"), now)))
        if logs := document.get("logs"):
            self._terminal.text(str(logs))
            prediction.apply(Log(source=Source.STDOUT, data=str(logs)))
        output = document.get("output")
        for item in output if streams and isinstance(output, list) else [output] if output is not None or not streams else []:
            prediction.apply(Output(output=_decoded(item, directory)))
        status = Status(document["status"])
        failure = Failure(message=str(document.get("error") or "it did not say why")) if status is Status.FAILED else None
        prediction.apply(Completed(status=status, at=_time(document.get("completed_at"), now), failure=failure))
        prediction.metrics.update(
            {name: value for name, value in (document.get("metrics") or {}).items() if name != "predict_time"}
        )
        return prediction

    def _deliver(self, prediction: Prediction, number: int) -> int:
        names = self._order.file_names(number)
        concatenates = self._signature.concatenates
        printer = Printer(self._terminal, names, concatenates=concatenates, streams=self._signature.streams)
        if self._order.as_json:
            deliver_summary(prediction, names, self._terminal, indent=not self._order.is_batch)
        elif prediction.status is Status.SUCCEEDED and (self._order.target is None or has_files(prediction)):
            printer.print_all(prediction)
            printer.finish()
        elif prediction.status is Status.SUCCEEDED and prediction.outputs:
            path = write_result(prediction, names, concatenates=concatenates)
            self._terminal.note(f"Written output to: {path}")
        if prediction.status is Status.SUCCEEDED:
            return 0
        noun = "training" if self._order.mode is Mode.TRAIN else "prediction"
        if prediction.failure is not None:
            self._terminal.error(f"the {noun} failed: {prediction.failure.message}")
        else:
            self._terminal.error(f"the {noun} was canceled")
        return 1


def _data_url(path: Path) -> str:
    return f"data:{guess_type(path.name)};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _decoded(value: Any, directory: Path) -> OutputValue:
    """A value with the files in it, which came as data URLs, on disk."""
    files = []
    for pointer, url in _data_urls(value, ()):
        head, _, data = url.partition(",")
        media_type = head.removeprefix("data:").partition(";")[0]
        path = directory / f"{len(list(directory.iterdir()))}{guess_suffix(media_type)}"
        path.write_bytes(base64.b64decode(data) if head.endswith(";base64") else data.encode())
        files.append(OutputFile(pointer=pointer, path=path, name=path.name))
    return OutputValue(value=put_in(value, {file.pointer: None for file in files}) if files else value, files=tuple(files))


def _data_urls(value: Any, pointer: Pointer) -> Iterator[tuple[Pointer, str]]:
    if isinstance(value, str) and value.startswith("data:") and "," in value[:200]:
        yield pointer, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _data_urls(inner, (*pointer, key))


def _time(text: Any, default: datetime) -> datetime:
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return default
