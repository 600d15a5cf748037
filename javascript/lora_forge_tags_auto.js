"use strict";
// The Tags step: automatic tags: the taggers, their settings, a look at what they would say, and the run.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.tags || forge.tags.auto) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { button, get, part, post, put } = kit;
  const desk = forge.tags;
  const { guarded, named, say, select, tagsIn, tell } = desk;

  let ui = {};
  let auto = null; // the fields, null where no tagger is ready

  // First in the step: without any tags it is where to begin; later it is folded.
  function build() {
    ui = { auto: part("div.lf-auto") };
    ui.downloads = part("div");
    ui.fold = part("details.lf-list", {}, part("summary", {}, part("b", {}, say("auto_title"))), ui.auto, ui.downloads);
    return ui.fold;
  }

  function fold() {
    const tagged = [...desk.book.captions.values()].filter((caption) => caption.tags.length).length;
    if (ui.fold.dataset.project !== desk.shownProject) ui.fold.open = desk.order.length > 0 && tagged < desk.order.length / 2;
    ui.fold.dataset.project = desk.shownProject;
  }

  // What was typed stays until there are other taggers.
  const draw = kit.newest(async () => {
    const told = await get("taggers", {}).catch(() => null);
    if (!told) return;
    const shown = desk.order.length ? JSON.stringify([kit.language(), told.taggers]) : "";
    if (ui.shown !== shown) {
      ui.shown = shown;
      auto = null;
      put(ui.auto);
      if (shown) showAuto(told.taggers);
    }
    forge.models.show(desk.place, ui.downloads, desk.line, (one) => one.kind === "tagger", draw);
  });

  function slider(value, oninput) {
    const number = part("output", {}, value.toFixed(2));
    const input = part("input", { type: "range", min: 0.05, max: 1, step: 0.01, value });
    input.addEventListener("input", () => {
      number.textContent = Number(input.value).toFixed(2);
      oninput();
    });
    return { input, element: part("span.lf-slider", {}, input, number), set: (next) => ((input.value = next), (number.textContent = Number(next).toFixed(2))) };
  }

  const labelled = (key, element) => part("label.lf-field", {}, part("span", {}, say(key)), element);

  function showAuto(taggers) {
    const ready = taggers.filter((one) => one.state === "ready");
    const head = part("p.lf-quiet", {}, say("auto_hint"));
    if (!ready.length) {
      put(ui.auto, head, part("p", {}, say("no_tagger")));
      return;
    }
    auto = {
      tagger: part("select", { id: "lora_forge_tagger" }, ...ready.map((one) => part("option", { value: one.id }, one.name))),
      general: slider(0.35, () => previewSoon()),
      character: slider(0.85, () => previewSoon()),
      exclude: part("input", { oninput: () => previewSoon() }),
      add: part("input", { oninput: () => previewSoon() }),
      swap: part("input", { oninput: () => previewSoon(), placeholder: say("swap") }),
      mode: select("mode_", ["replace", "append", "prepend", "fill_empty"], "replace"),
      underscores: part("input", { type: "checkbox", onchange: () => previewSoon() }),
      characters: part("input", { type: "checkbox", checked: true, onchange: () => previewSoon() }),
      sentence: part("p.lf-quiet"),
      preview: part("div.lf-preview"),
    };
    const chosen = () => {
      const one = ready.find((known) => known.id === auto.tagger.value);
      auto.sentence.textContent = one.sentence || "";
      if (one.thresholds) {
        auto.general.set(one.thresholds.general);
        auto.character.set(one.thresholds.character);
      }
      const isTags = one.kind === "tags";
      for (const field of [auto.general.element, auto.character.element]) field.parentElement.hidden = !isTags;
      previewSoon();
    };
    const run = button(say("auto_run"), () => runAuto(false), { id: "lora_forge_auto_run" });
    const look = button(say("auto_look"), () => runAuto(true), { title: say("auto_look_hint") });
    run.classList.add("lf-primary");
    put(ui.auto,
      head,
      part("div.lf-tools", {}, labelled("tagger", auto.tagger), labelled("general", auto.general.element), labelled("character", auto.character.element), labelled("mode", auto.mode)),
      part(
        "div.lf-tools",
        {},
        labelled("exclude", auto.exclude),
        labelled("always", auto.add),
        labelled("swap", auto.swap),
        labelled("underscores", auto.underscores),
        labelled("character_tags", auto.characters),
        run,
        look
      ),
      auto.sentence,
      auto.preview
    );
    auto.tagger.addEventListener("change", chosen);
    chosen();
  }

  function autoOptions() {
    const pairs = tagsIn(auto.swap.value).map((pair) => pair.split("=").map((part) => part.trim()));
    return {
      tagger: auto.tagger.value,
      general: Number(auto.general.input.value),
      character: Number(auto.character.input.value),
      exclude: tagsIn(auto.exclude.value),
      add: tagsIn(auto.add.value),
      replace: Object.fromEntries(pairs.filter(([from, to]) => from && to)),
      mode: auto.mode.value,
      underscores: auto.underscores.checked,
      character_tags: auto.characters.checked,
    };
  }

  const previewSoon = kit.debounce(60, kit.newest(preview));

  async function preview() {
    const shown = auto; // another may be there when the answer comes, or none
    const [key] = desk.grid.chosen();
    if (!shown) return;
    const asked = { project: desk.shownProject, keys: [key], ...autoOptions() };
    const told = key === undefined ? null : await post("taggers/preview", asked).catch(() => null);
    const tags = told && told.tags[key];
    if (!tags) put(shown.preview);
    else put(shown.preview, part("b", {}, say("auto_preview")), part("div.lf-chips", {}, ...tags.map((tag) => part("span.lf-chip", {}, ...named(tag)))));
  }

  async function runAuto(onlyLooks) {
    await guarded(async () => {
      await post("taggers/run", { project: desk.shownProject, keys: null, only_scores: onlyLooks, ...autoOptions() });
      tell("");
      await kit.startedChore();
    });
  }

  desk.auto = { build, draw, fold, previewSoon };
})();
