"""What the page does for a person, without any widget: sentences and numbers from the desk, the projects and a form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from lora_forge.config import Family, TrainConfig
from lora_forge.dataset.importing import ImportReport
from lora_forge.dataset.project import Project
from lora_forge.errors import DatasetError, LoraForgeError
from lora_forge.i18n import say, word
from lora_forge.jobs import JobBoard
from lora_forge.ports import BaseInfo, Desk
from lora_forge.ui import markup, photos, proposal
from lora_forge.ui.form import Values
from lora_forge.ui.texts import say_error
from lora_forge.work import RunRequest, plan, project_dir, run
from lora_forge.work.memory import memory_sentence
from lora_forge.work.planning import Proof
from lora_forge.work.settings import new_config

FAMILIES = {Family.SD1: "Stable Diffusion 1.x", Family.SD2: "Stable Diffusion 2.x", Family.SDXL: "SDXL"}
PREDICTIONS = {"epsilon": word("the noise (epsilon)"), "v_prediction": word("the velocity (v)")}


@dataclass(frozen=True)
class Base:
    """The checkpoint in use; ``info`` is None while it can't be trained on, and ``text`` says why."""

    info: BaseInfo | None
    text: str

    @property
    def family(self) -> Family:
        """SD1 while nothing is known."""
        return self.info.family if self.info else Family.SD1


def base_of(desk: Desk, language: str) -> Base:
    """What is loaded, as HTML."""
    try:
        info = desk.info()
    except LoraForgeError as problem:
        return Base(None, markup.note(say_error(problem, language), "warning"))
    predicts = f"{say(PREDICTIONS[info.prediction_type], language)}: {info.prediction_source.text(language)}"
    rows = [
        (say("Checkpoint", language), info.name),
        (say("Family", language), FAMILIES[info.family]),
        (say("It predicts", language), predicts),
    ]
    if info.zero_terminal_snr:
        rows.append((say("Noise schedule", language), say("rescaled to zero terminal SNR", language)))
    return Base(info, markup.facts(rows))


def stock_text(stock: photos.Stock, language: str) -> str:
    """How many photos, as HTML."""
    if not stock.visits.photos:
        return markup.note(say("No photos yet: 20 to 30 sharp ones from many angles are a good start.", language))
    text = say(
        "{photos} photos, {captioned} with a caption.",
        language,
        photos=stock.visits.photos,
        captioned=stock.captioned,
    )
    return markup.note(text, "good")


def import_text(report: ImportReport, language: str) -> str:
    """What an import did, as HTML: the count, and a fold with what was left out and why."""
    text = say("{count} photos added.", language, count=len(report.imported))
    shown = markup.note(text, "good" if report.imported else "warning")
    if report.skipped:
        title = say("Files left out: {count}", language, count=len(report.skipped))
        rows = [(one.name, one.reason.text(language)) for one in report.skipped]
        shown += markup.listing(title, rows, is_open=not report.imported)
    return shown


def steps_text(values: Values, stock: photos.Stock, family: Family, language: str) -> str:
    """Steps an epoch and in all, as HTML; why not, where they can't be counted."""
    if not stock.visits.photos:
        return ""
    try:
        settings = config_of(values, family, stock.visits.photos)
    except LoraForgeError as problem:
        return markup.note(say_error(problem, language), "error")
    each = proposal.steps_per_epoch(stock.visits, settings.repeats, settings.batch_size, settings.gradient_accumulation)
    total = min(each * settings.epochs, settings.max_steps or each * settings.epochs)
    text = say(
        "{photos} photos x {repeats} repeats: {each} steps an epoch, {total} in all.",
        language,
        photos=stock.visits.photos,
        repeats=settings.repeats,
        each=each,
        total=total,
    )
    memory = memory_sentence(family, settings)
    return markup.note(text) + markup.note(memory.sentence.text(language), "info" if memory.fits else "warning")


def config_of(values: Values, family: Family, photo_count: int) -> TrainConfig:
    """The config that the form stands for, to count with.

    Raises:
        ConfigError: a setting is unknown or out of range.
    """
    said = {"repeats": values.repeats, "epochs": values.epochs, "resolution_px": values.resolution_px}
    said.update(proposal.parse_settings(values.settings))
    return new_config(values.name, values.kind, family, photo_count, values.trigger_word, said)


def start(desk: Desk, board: JobBoard, values: Values) -> None:
    """Start the run that the form describes, on the board's thread.

    Raises:
        LoraForgeError: it can't start; the sentence says what to change.
    """
    folder = project_dir(desk.data_root(), values.project)
    if not (folder / "project.json").is_file():
        raise DatasetError("There is no project {name!r} yet.", "Add photos to it first.", name=values.project)
    project = Project.load(folder)
    if values.trigger_word != project.trigger_word:
        project.set_trigger_word(values.trigger_word)
    request = request_of(values, folder)
    plan(desk, request)  # what is refused is said at once, beside the button
    board.start(values.name, lambda emit, commands: run(desk, request, emit, commands).outcome)


def request_of(values: Values, folder: Path) -> RunRequest:
    """The run as the form describes it. One that goes on keeps its own settings but for what the fold's lines say."""
    settings = proposal.parse_settings(values.settings)
    return RunRequest(
        project=folder,
        name=values.name,
        kind=values.kind,
        repeats=None if values.resume else values.repeats,
        epochs=values.epochs,
        settings=settings if values.resume else {"resolution_px": values.resolution_px, **settings},
        resume=values.resume,
        prove=cast(Proof, values.prove),
    )
