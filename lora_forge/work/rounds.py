"""Rounds of a project, a run with its newest test each; what to do next, and doing it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lora_forge import config as configs
from lora_forge.config import TrainConfig
from lora_forge.dataset.checkup.report import Report
from lora_forge.dataset.project import Project
from lora_forge.errors import ConfigError, LoraForgeError
from lora_forge.evaluate.advice import Advice, BadPhoto, Choice, RunSettings, advise
from lora_forge.evaluate.choices import ADD_EPOCHS, FEWER_REPEATS, MORE_EPOCHS, MORE_REPEATS
from lora_forge.i18n import Said, word
from lora_forge.ports import Desk
from lora_forge.train.schedules import mean_rates
from lora_forge.work.planning import RunRequest
from lora_forge.work.proposing import propose_name, visits_of
from lora_forge.work.run_settings import settings_of
from lora_forge.work.runs import RunFacts, find_run, runs_of
from lora_forge.work.series import MOST_POINTS, series_of
from lora_forge.work.settings import CONFIG_FILE
from lora_forge.work.testing import KeptTest, list_tests, load_test

APPLIED = (MORE_REPEATS, FEWER_REPEATS, ADD_EPOCHS)
"""Choices that train; of the others one is looked at and one is kept."""

_STATES = "step-*.safetensors"  # as train.state names them, which brings torch
_SAME = frozenset({"name", "schema_version", "trigger_word", "preview_prompts", "device"})
_UNLIKE = Said(word("It is unlike the other photos."))


@dataclass(frozen=True)
class Round:
    """``config``: what the run was made with; None where that can't be read. ``test``: its newest that tells a cell."""

    run: RunFacts
    config: TrainConfig | None
    test: KeptTest | None


def rounds_of(project: Project) -> list[Round]:
    """Every run that began, newest first."""
    newest: dict[str, KeptTest] = {}
    for test in list_tests(project):
        if test.recommendation is not None:
            newest.setdefault(test.request.name, test)
    return [Round(run, config_of(run), newest.get(run.name)) for run in runs_of(project) if run.has_config]


def config_of(run: RunFacts) -> TrainConfig | None:
    """What the run was made with; None where that can't be read."""
    try:
        return configs.load(run.folder / CONFIG_FILE)
    except (LoraForgeError, OSError, ValueError):
        return None


def differing(rounds: Iterable[Round]) -> list[str]:
    """Settings, by name, in which the rounds differ; what has a place of its own in every table is left out."""
    known = [one.config.to_dict() for one in rounds if one.config is not None]
    return [
        key for key in (known[0] if known else {}) if key not in _SAME and len({str(one[key]) for one in known}) > 1
    ]


def find_test(project: Project, id: str) -> KeptTest | None:
    """The test ``id``, or, where that is empty, the newest that tells a cell; None where there is none.

    Raises:
        ConfigError: there is no such test.
    """
    if id:
        return load_test(project, id)
    return next((one for one in list_tests(project) if one.recommendation is not None), None)


def advice_of(project: Project, test: KeptTest) -> Advice | None:
    """What follows from ``test``; None before a cell was scored."""
    if test.recommendation is None:
        return None
    run = next((one for one in runs_of(project) if one.name == test.request.name and one.has_config), None)
    settings = None if run is None else run_settings(project, run)
    return advise(test.surface, test.recommendation, test.diagnosis, settings, bad_photos(project, test))


def run_settings(project: Project, run: RunFacts) -> RunSettings | None:
    """What the advice is reckoned with; None where the run's config can't be read."""
    config = config_of(run)
    if config is None:
        return None
    visits = visits_of(project)
    own = sum(count * repeats for count, repeats in visits.groups if repeats)
    steps = run.journal.total or run.journal.step
    each = -(-steps // config.epochs) if steps else visits.steps(config.repeats, config.batch_size)
    added = tuple(range(1, MORE_EPOCHS + 1))
    return RunSettings(
        repeats=config.repeats,
        epochs=config.epochs,
        photos=sum(count for count, repeats in visits.groups if not repeats),
        steps=steps or each * config.epochs,
        learning_rate=config.learning_rate,
        rates=_rates(run, config),
        more_rates=mean_rates(config.schedule, added, each, each * MORE_EPOCHS),
        can_go_on=can_go_on(run, config),
        own_visits=own,
    )


def can_go_on(run: RunFacts, config: TrainConfig) -> bool:
    """Whether epochs can be added to a run: it is done, and its last state is there."""
    is_bound = 0 < config.max_steps <= (run.journal.total or config.max_steps)
    return run.state == "done" and not is_bound and any((run.folder / "state").glob(_STATES))


def state_bytes(run: RunFacts) -> int:
    """What the states that a run goes on from take on the disk."""
    return sum(path.stat().st_size for path in (run.folder / "state").glob(_STATES) if path.is_file())


def bad_photos(project: Project, test: KeptTest | None) -> tuple[BadPhoto, ...]:
    """Photos that are unlike the rest by the test's judge, or that the last checkup marks red, and why."""
    found: dict[str, Said] = {}
    report = Report.load(project)
    for finding in report.findings if report is not None else ():
        if finding.light == "red" and finding.is_judged:
            for key in finding.photos:
                found.setdefault(key, finding.title)
    for key in test.photos.outliers if test is not None and test.photos is not None else ():
        found.setdefault(key, _UNLIKE)
    there = {project.key(path) for path in project.photo_paths()}
    return tuple(BadPhoto(key, why) for key, why in found.items() if key in there)


def request_for(desk: Desk, project: Project, test: KeptTest, choice: str, taken: Sequence[str] = ()) -> RunRequest:
    """The run that ``choice`` begins or goes on with. ``taken``: further names that a new one can't have.

    Raises:
        ConfigError: the advice has no such choice any more, or it trains nothing.
        TrainingError: the tested LoRA is of no run here.
    """
    run = find_run(project, test.request.name)
    chosen = _chosen(advice_of(project, test), choice)
    folder = str(run.asked.get("folder") or "")
    if chosen.id == ADD_EPOCHS:
        kind = str(run.asked.get("kind") or test.request.kind)
        epochs = int(chosen.changes["epochs"])
        return RunRequest(project.root, run.name, kind, resume=True, folder=folder, settings={"epochs": epochs})
    kept = settings_of(desk, project, run.name)
    name = propose_name(project, desk.lora_dir(), run.name, taken)
    return RunRequest(
        project.root,
        name,
        str(kept["kind"]),
        settings={**_without_size_of_steps(kept["values"]), **chosen.changes},
        folder=folder,
        trigger_word=str(kept.get("trigger_word") or ""),
    )


def _without_size_of_steps(values: Mapping[str, Any]) -> dict[str, Any]:
    """Previews come at the ends of epochs: with other repeats they are placed anew."""
    return {key: value for key, value in values.items() if key != "preview_every_steps" or not value}


def _chosen(advice: Advice | None, choice: str) -> Choice:
    for one in advice.choices if advice is not None else ():
        if one.id == choice and choice in APPLIED:
            return one
    raise ConfigError("The advice has no {choice} any more.", "Reload the page and look at it again.", choice=choice)


def _rates(run: RunFacts, config: TrainConfig) -> tuple[float, ...]:
    """The mean share of the learning rate in each epoch, as the journal has it; none where it does not tell."""
    told = series_of(run.folder).series(points=MOST_POINTS)
    each = told["steps_per_epoch"]
    if not each or not config.learning_rate:
        return ()
    shares: dict[int, list[float]] = {}
    for step, rate in zip(told["steps"], told["learning_rate"], strict=True):
        if rate is not None:
            shares.setdefault((step - 1) // each, []).append(rate / config.learning_rate)
    if sorted(shares) != list(range(len(shares))):
        return ()
    return tuple(sum(found) / len(found) for _, found in sorted(shares.items()))
