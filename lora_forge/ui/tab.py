"""The tab: its frame and what gradio draws of it; the steps themselves are the script's.

One page for gradio 3, 4 and 5; what differs is in :mod:`ui.dialect`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import gradio as gr

from lora_forge import __version__
from lora_forge.errors import DatasetError, LoraForgeError
from lora_forge.i18n import LANGUAGES, say, word
from lora_forge.ports import Desk
from lora_forge.ui import (
    frames,
    live,
    markup,
    parts_card,
    paste,
    photo_panel,
    photos,
    shop,
    steps_bar,
    tag_panel,
    train_panel,
)
from lora_forge.ui.around import Around
from lora_forge.ui.dialect import html, on, update
from lora_forge.ui.form import Form, Values, kind_field
from lora_forge.ui.texts import Texts, say_error

Given = dict[Any, Any]
Changes = dict[Any, Any]


def build_tab(desk: Desk, around: Around | None = None) -> Any:
    """The page as ``gradio.Blocks``, for a host's tab or for a page of its own."""
    with gr.Blocks(analytics_enabled=False) as page:
        fill_tab(desk, around or Around())
    return page


def fill_tab(desk: Desk, around: Around) -> None:
    """The tab's contents, within a ``gradio.Blocks`` that is open."""
    with gr.Column(elem_id="lora_forge"):
        _Tab(desk, around)


class _Tab:
    """The widgets, and what happens when they are used."""

    def __init__(self, desk: Desk, around: Around) -> None:
        self.desk, self.around = desk, around
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
            self.train = html(train_panel.panel(self.texts.language), elem_id="lora_forge_train")
            self.live = html(live.panel(self.texts.language), elem_id="lora_forge_live")
            self.history = html(train_panel.history(self.texts.language), elem_id="lora_forge_history")
        self.form = Form(**made)
        with gr.Column(elem_classes=["lf-step", "lf-in-test"]):
            self.frames = {name: self._frame(name) for name in ("test", "rounds", "album")}
        with gr.Column(elem_classes=["lf-step", "lf-in-keep"]):
            self.frames |= {name: self._frame(name) for name in ("keep", "loras")}
        paste.build(around)
        with gr.Row(elem_classes=["lf-hidden"]):  # pressed by the script when the tab comes into view
            self.refresh = gr.Button(elem_id="lora_forge_refresh")
        self._bind()

    def _frame(self, name: str) -> Any:
        return html(frames.frame(name, self.texts.language), elem_id=f"lora_forge_{name}")

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

    def _bind(self) -> None:
        form, texts = self.form, self.texts
        self._on(
            form.language.change,
            self._language,
            [*texts.components, *self._drawn(), self.banner, self.parts, self.base, self.stock],
        )
        shown = [form.checkpoint, self.base, form.project, self.stock, self.banner]
        refreshed = self._on(self.refresh.click, self._refresh, shown, last=True)
        on(refreshed.then, None, js="() => { window.loraForge && window.loraForge.ready(); return []; }")
        self._on(self.look.click, self._refresh, shown, last=True)
        switched = self._on(form.checkpoint.input, self._switch, [form.checkpoint, self.base], queued=True, last=True)
        on(switched.then, None, [form.checkpoint], js="(title) => { window.loraForge.chosen(title); return []; }")
        self._on(form.project.change, self._project, [self.stock])
        taken = self._on(self.take.click, self._taken, [self.stock, form.project, self.brought], queued=True)
        on(taken.then, None, js="() => { window.loraForge.photos.refresh(); return []; }")

    def _on(
        self,
        event: Callable[..., Any],
        handler: Callable[[Values, Given], Changes],
        outputs: list[Any],
        queued: bool = False,
        last: bool = False,
    ) -> Any:
        """Bind ``handler``; what it refuses is shown in the step's own line, the last HTML it may change."""
        lines = (self.brought, self.stock, self.base)
        place = next(line for line in lines if line in outputs)

        def guarded(given: Given) -> Changes:
            values = self.form.read(given)
            try:
                return handler(values, given) or {place: update()}
            except LoraForgeError as problem:
                return {place: markup.note(say_error(problem, values.language), "error")}

        return on(event, guarded, self.form.components(), outputs, queued=queued, last=last)

    # ---------------------------------------------------------------- what happens

    def _language(self, values: Values, _: Given) -> Changes:
        changes = self.texts.updates(values.language)
        changes[self.banner] = self._warning(values.language)
        changes[self.parts] = parts_card.card_now(values.language)
        changes[self.base] = shop.base_of(self.desk, values.language).text
        changes[self.stock] = self._stock_text(values.project, values.language)
        return {**changes, **self._drawn(values.language)}

    def _drawn(self, language: str = "en") -> Changes:
        """What the script fills, and fills again in another language."""
        return {
            self.live: live.panel(language),
            self.train: train_panel.panel(language),
            self.history: train_panel.history(language),
            self.wall: photo_panel.panel(language),
            self.tags: tag_panel.panel(language),
            self.steps_bar: steps_bar.bar(language),
            **{place: frames.frame(name, language) for name, place in self.frames.items()},
        }

    def _refresh(self, values: Values, _: Given) -> Changes:
        base = shop.base_of(self.desk, values.language)
        projects = photos.list_projects(self.desk)
        is_open = bool(projects) and not values.project
        if is_open:
            values = dataclasses.replace(values, project=projects[0])
        return {
            self.form.checkpoint: update(choices=list(self.desk.checkpoints()), value=self.desk.loaded() or None),
            self.base: base.text,
            # a name that is being typed meanwhile must not be overwritten with the one of a moment ago
            self.form.project: update(choices=projects, **({"value": values.project} if is_open else {})),
            self.stock: self._stock_text(values.project, values.language),
            self.banner: self._warning(values.language),
        }

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
        return {self.base: shop.base_of(self.desk, values.language).text}

    def _project(self, values: Values, _: Given) -> Changes:
        return {self.stock: self._stock_text(values.project, values.language)}

    def _taken(self, values: Values, _: Given) -> Changes:
        if not self.around.reads_folders():
            raise DatasetError(
                "Folders of this machine are closed to this page.", "Upload the photos, or a zip of them."
            )
        report = photos.add_folder(self.desk, values.project, values.folder)
        return {
            self.brought: shop.import_text(report, values.language),
            self.stock: self._stock_text(values.project, values.language),
            self.form.project: update(choices=photos.list_projects(self.desk), value=values.project),
        }

    # ---------------------------------------------------------------- what is shown

    def _warning(self, language: str) -> str:
        return markup.note(say(self.around.warning(), language), "warning")

    def _stock_text(self, name: str, language: str | None = None) -> str:
        language = language or self.texts.language
        try:
            return shop.stock_text(photos.stock_of(self.desk, name), language) if name else ""
        except LoraForgeError as problem:
            return markup.note(say_error(problem, language), "error")
