"""What the page does for a person, without any widget: sentences and numbers from the desk, the projects and a form."""

from __future__ import annotations

from dataclasses import dataclass

from lora_forge.config import Family
from lora_forge.dataset.importing import ImportReport
from lora_forge.errors import LoraForgeError
from lora_forge.i18n import say, word
from lora_forge.ports import BaseInfo, Desk
from lora_forge.ui import markup, photos
from lora_forge.ui.texts import say_error

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
    if not stock.photos:
        return markup.note(say("No photos yet: 20 to 30 sharp ones from many angles are a good start.", language))
    text = say(
        "{photos} photos, {captioned} with a caption.",
        language,
        photos=stock.photos,
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
