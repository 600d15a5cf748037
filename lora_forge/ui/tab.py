"""The tab: base, photos, training, test. One page for gradio 3, 4 and 5; what differs is in :mod:`ui.dialect`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import gradio as gr

from lora_forge import __version__
from lora_forge.errors import DatasetError, LoraForgeError
from lora_forge.evaluate import xyz
from lora_forge.events import Command
from lora_forge.i18n import LANGUAGES, say, word
from lora_forge.jobs import JobBoard
from lora_forge.ports import Desk
from lora_forge.ui import (
    grid_panel,
    live,
    markup,
    parts_card,
    photo_panel,
    photos,
    proposal,
    shop,
    steps_bar,
    tag_panel,
)
from lora_forge.ui.around import Around
from lora_forge.ui.dialect import html, on, update
from lora_forge.ui.form import Form, Values, folded_fields, kind_field, run_fields
from lora_forge.ui.texts import Texts, say_error

Given = dict[Any, Any]
Changes = dict[Any, Any]


def build_tab(desk: Desk, board: JobBoard, around: Around | None = None) -> Any:
    """The page as ``gradio.Blocks``, for a host's tab or for a page of its own."""
    with gr.Blocks(analytics_enabled=False) as page:
        fill_tab(desk, board, around or Around())
    return page


def fill_tab(desk: Desk, board: JobBoard, around: Around) -> None:
    """The tab's contents, within a ``gradio.Blocks`` that is open."""
    with gr.Column(elem_id="lora_forge"):
        _Tab(desk, board, around)


class _Tab:
    """The widgets, and what happens when they are used."""

    def __init__(self, desk: Desk, board: JobBoard, around: Around) -> None:
        self.desk, self.board, self.around = desk, board, around
        self.texts = Texts(desk.language())
        made = {"language": self._head()}
        self.parts = parts_card.build(self.texts, made["language"])
        made.update(self._project_row())
        self.steps_bar = html(steps_bar.bar(self.texts.language))
        with gr.Column(elem_classes=["lf-step", "lf-in-photos"]):
            made["folder"] = self._photos_step()
        with gr.Column(elem_classes=["lf-step", "lf-in-tags"]):
            self.tags = html(tag_panel.panel(self.texts.language), elem_id="lora_forge_tags")
        with gr.Column(elem_classes=["lf-step", "lf-in-train", "lf-in-test"]):
            made["checkpoint"] = self._base_step()
        with gr.Column(elem_classes=["lf-step", "lf-in-train"]):
            made.update(self._train_step())
        self.form = Form(**made)
        with gr.Column(elem_classes=["lf-step", "lf-in-test"]):
            self.grid = grid_panel.build(self.texts, desk, self.form, around)
        # pressed by the script: when the tab comes into view, and when a file was saved
        with gr.Row(elem_classes=["lf-hidden"]):
            self.refresh = gr.Button(elem_id="lora_forge_refresh")
            self.saved = gr.Button(elem_id="lora_forge_saved")
            self.count = gr.Button(elem_id="lora_forge_count")
            self.imported = gr.Button(elem_id="lora_forge_imported")
        self._bind()

    def _head(self) -> Any:
        with gr.Row(elem_id="lora_forge_head"):
            html(f"<h2>LoRA Forge <small>{__version__} · {self.desk.name}</small></h2>")
            language = gr.Radio(
                [(own, code) for code, own in LANGUAGES.items()],
                value=self.texts.language,
                show_label=False,
                container=False,
                elem_id="lora_forge_language",
            )
        self.banner = html(self._warning(self.texts.language), elem_id="lora_forge_banner")
        return language

    def _project_row(self) -> dict[str, Any]:
        names = photos.list_projects(self.desk)
        with gr.Row(elem_id="lora_forge_project_row"):
            project = self.texts.make(
                gr.Dropdown,
                {"label": word("Project"), "info": word("Choose one, or type a new name.")},
                choices=names,
                value=names[0] if names else None,
                allow_custom_value=True,
                elem_id="lora_forge_project",
            )
            kind = kind_field(self.texts, any("toyworld" in title for title in self.desk.checkpoints()))
        self.stock = html(self._stock_text(names[0] if names else ""), elem_id="lora_forge_stock")
        return {"project": project, "kind": kind}

    def _base_step(self) -> Any:
        with gr.Row():
            checkpoint = self.texts.make(
                gr.Dropdown,
                {
                    "label": word("Base checkpoint"),
                    "info": word("Choosing another one loads it in the program."),
                },
                choices=list(self.desk.checkpoints()),
                value=self.desk.loaded() or None,
                elem_id="lora_forge_checkpoint",
                scale=4,
            )
            self.look = self.texts.make(gr.Button, {"value": word("Look again")}, scale=0, elem_id="lora_forge_look")
        self.base = html(shop.base_of(self.desk, self.texts.language).text, elem_id="lora_forge_base")
        return checkpoint

    def _photos_step(self) -> Any:
        self.wall = html(photo_panel.panel(self.texts.language), elem_id="lora_forge_photos")
        with gr.Row(visible=self.around.reads_folders()):
            folder = self.texts.make(
                gr.Textbox,
                {"label": word("Or a folder on this machine")},
                elem_id="lora_forge_folder",
                scale=4,
            )
            self.take = self.texts.make(gr.Button, {"value": word("Copy")}, scale=0, elem_id="lora_forge_take")
        self.brought = html("", elem_id="lora_forge_brought")
        return folder

    def _train_step(self) -> dict[str, Any]:
        made = run_fields(self.texts)
        self.steps = html("", elem_id="lora_forge_steps")
        with self.texts.make(gr.Accordion, {"label": word("More settings")}, open=False, elem_id="lora_forge_more"):
            made.update(folded_fields(self.texts))
        with gr.Row():
            self.start = self.texts.make(
                gr.Button, {"value": word("Start")}, variant="primary", elem_id="lora_forge_start"
            )
            self.stop_save = self.texts.make(
                gr.Button, {"value": word("Stop and save")}, elem_id="lora_forge_stop_and_save"
            )
            self.stop = self.texts.make(gr.Button, {"value": word("Stop")}, variant="stop", elem_id="lora_forge_stop")
        self.said = html("", elem_id="lora_forge_said")
        self.live = html(live.panel(self.texts.language), elem_id="lora_forge_live")
        return made

    def _bind(self) -> None:
        form, texts = self.form, self.texts
        knobs = [form.repeats, form.epochs, form.resolution_px]
        proposals = [*knobs, self.steps]
        self._on(
            form.language.change,
            self._language,
            [*texts.components, *self._drawn(), self.banner, self.parts, self.base, self.stock, self.steps, self.said],
        )
        shown = [form.checkpoint, self.base, form.project, self.stock, self.banner, self.grid.lora, self.steps]
        shown += [form.name, form.trigger_word, *knobs]
        refreshed = self._on(self.refresh.click, self._refresh, shown)
        on(refreshed.then, None, js="() => { window.loraForge && window.loraForge.ready(); return []; }")
        self._on(self.saved.click, self._saved, [self.grid.lora, *self.grid.proposed(), self.said])
        self._on(self.look.click, self._refresh, shown)
        switched = self._on(form.checkpoint.input, self._switch, [form.checkpoint, self.base, *proposals], queued=True)
        on(switched.then, None, [form.checkpoint], js="(title) => { window.loraForge.chosen(title); return []; }")
        self._on(form.project.change, self._project, [self.stock, form.name, form.trigger_word, *proposals])
        self._on(form.kind.change, self._proposed, proposals)
        # Fields change together, and their answers could come in any order: the script waits for the last change and
        # asks once, with what the page says then.
        for field in (*knobs, form.settings):
            on(field.change, None, js="() => { window.loraForge && window.loraForge.count(); return []; }")
        self._on(self.count.click, self._steps, [self.steps], is_last_kept=True)
        self._on(form.name.blur, self._named, [form.trigger_word, self.said])
        outputs = [self.stock, form.project, form.name, form.trigger_word, *proposals]
        self._on(self.imported.click, self._imported, outputs)
        taken = self._on(self.take.click, self._taken, [*outputs, self.brought], queued=True)
        on(taken.then, None, js="() => { window.loraForge.photos.refresh(); return []; }")
        self._on(self.start.click, self._started, [self.said])
        self._on(self.stop.click, self._send(Command.STOP), [self.said])
        self._on(self.stop_save.click, self._send(Command.STOP_AND_SAVE), [self.said])

    def _on(
        self,
        event: Callable[..., Any],
        handler: Callable[[Values, Given], Changes],
        outputs: list[Any],
        queued: bool = False,
        is_last_kept: bool = False,
    ) -> Any:
        """Bind ``handler``; what it refuses is shown in the step's own line, the last HTML it may change."""
        place = next(one for one in (self.said, self.brought, self.stock, self.base, self.steps) if one in outputs)

        def guarded(given: Given) -> Changes:
            values = self.form.read(given)
            try:
                return handler(values, given) or {place: update()}
            except LoraForgeError as problem:
                return {place: markup.note(say_error(problem, values.language), "error")}

        return on(event, guarded, self.form.components(), outputs, queued=queued, is_last_kept=is_last_kept)

    # ---------------------------------------------------------------- what happens

    def _language(self, values: Values, _: Given) -> Changes:
        changes = self.texts.updates(values.language)
        changes[self.banner] = self._warning(values.language)
        changes[self.parts] = parts_card.card_now(values.language)
        changes[self.base] = shop.base_of(self.desk, values.language).text
        changes[self.stock] = self._stock_text(values.project, values.language)
        changes.update(self._drawn(values.language))
        changes[self.said] = ""
        return {**changes, **self._steps(values, {})}

    def _drawn(self, language: str = "en") -> Changes:
        """What the script fills, and fills again in another language."""
        return {
            self.live: live.panel(language),
            self.wall: photo_panel.panel(language),
            self.tags: tag_panel.panel(language),
            self.steps_bar: steps_bar.bar(language),
        }

    def _refresh(self, values: Values, _: Given) -> Changes:
        base = shop.base_of(self.desk, values.language)
        loras = list(xyz.trained(self.desk.lora_dir()))
        projects = photos.list_projects(self.desk)
        is_fresh = bool(projects) and not values.name  # the page was just opened
        is_open = bool(projects) and not values.project
        if is_open:
            values = dataclasses.replace(values, project=projects[0])
        return {
            **(self._named_after(values) if is_fresh else {}),
            self.form.checkpoint: update(choices=list(self.desk.checkpoints()), value=self.desk.loaded() or None),
            self.base: base.text,
            # a name that is being typed meanwhile must not be overwritten with the one of a moment ago
            self.form.project: update(choices=projects, **({"value": values.project} if is_open else {})),
            self.stock: self._stock_text(values.project, values.language),
            self.banner: self._warning(values.language),
            self.grid.lora: update(choices=loras),
            **self._steps(values, {}),
        }

    def _saved(self, values: Values, _: Given) -> Changes:
        """The LoRA that is being trained is the one to test, with the epochs it has by now."""
        name = str(self.board.snapshot()["title"])
        loras = list(xyz.trained(self.desk.lora_dir()))
        if name not in loras:
            return {self.grid.lora: update(choices=loras)}
        proposed = grid_panel.proposed(self.desk, self.grid, name, values)
        return {self.grid.lora: update(choices=loras, value=name), **proposed}

    def _switch(self, values: Values, _: Given) -> Changes:
        try:
            self.desk.switch(values.checkpoint)
        except LoraForgeError as problem:
            back = update(value=self.desk.loaded() or None)
            return {
                self.form.checkpoint: back,
                self.base: markup.note(say_error(problem, values.language), "error")
                + shop.base_of(self.desk, values.language).text,
            }
        return {self.base: shop.base_of(self.desk, values.language).text, **self._proposed(values, {})}

    def _project(self, values: Values, _: Given) -> Changes:
        return {self.stock: self._stock_text(values.project, values.language), **self._named_after(values)}

    def _named_after(self, values: Values) -> Changes:
        """Name, trigger word and numbers that suit the chosen project."""
        stock = photos.stock_of(self.desk, values.project)
        name = self._free_name(values.project)
        return {
            self.form.name: name,
            self.form.trigger_word: stock.trigger_word or proposal.suggest_trigger(name),
            **self._proposed(values, {}),
        }

    def _free_name(self, project: str) -> str:
        return proposal.free_name(proposal.suggest_name(project), xyz.trained(self.desk.lora_dir()))

    def _named(self, values: Values, _: Given) -> Changes:
        return {} if values.trigger_word else {self.form.trigger_word: proposal.suggest_trigger(values.name)}

    def _proposed(self, values: Values, _: Given) -> Changes:
        stock = photos.stock_of(self.desk, values.project)
        family = shop.base_of(self.desk, values.language).family
        knobs = proposal.propose(values.kind, family, stock.visits.photos)
        form = self.form
        return {form.repeats: knobs.repeats, form.epochs: knobs.epochs, form.resolution_px: knobs.resolution_px}

    def _steps(self, values: Values, _: Given) -> Changes:
        stock = photos.stock_of(self.desk, values.project)
        family = shop.base_of(self.desk, values.language).family
        return {self.steps: shop.steps_text(values, stock, family, values.language)}

    def _taken(self, values: Values, given: Given) -> Changes:
        if not self.around.reads_folders():
            raise DatasetError(
                "Folders of this machine are closed to this page.", "Upload the photos, or a zip of them."
            )
        report = photos.add_folder(self.desk, values.project, values.trigger_word, values.folder)
        return {self.brought: shop.import_text(report, values.language), **self._imported(values, given)}

    def _imported(self, values: Values, _: Given) -> Changes:
        stock = photos.stock_of(self.desk, values.project)
        name = values.name or self._free_name(values.project)
        trigger_word = values.trigger_word or stock.trigger_word or proposal.suggest_trigger(name)
        return {
            self.stock: self._stock_text(values.project, values.language),
            self.form.project: update(choices=photos.list_projects(self.desk), value=values.project),
            self.form.name: name,
            self.form.trigger_word: trigger_word,
            **self._proposed(values, {}),
        }

    def _started(self, values: Values, _: Given) -> Changes:
        shop.start(self.desk, self.board, values)
        return {self.said: ""}

    def _send(self, command: Command) -> Callable[[Values, Given], Changes]:
        def send(values: Values, _: Given) -> Changes:
            self.board.send(command)
            return {self.said: ""}

        return send

    # ---------------------------------------------------------------- what is shown

    def _warning(self, language: str) -> str:
        return markup.note(say(self.around.warning(), language), "warning")

    def _stock_text(self, name: str, language: str | None = None) -> str:
        language = language or self.texts.language
        try:
            return shop.stock_text(photos.stock_of(self.desk, name), language) if name else ""
        except LoraForgeError as problem:
            return markup.note(say_error(problem, language), "error")
