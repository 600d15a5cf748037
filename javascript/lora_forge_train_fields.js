"use strict";
// The Train step: the four knobs, and every other setting in folded groups with a search.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.train || !forge.train.form || forge.train.fields) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { button, part, put } = kit;
  const train = forge.train;
  const { form, say } = train;

  const KNOB_IDS = { repeats: "lora_forge_repeats", epochs: "lora_forge_epochs", resolution_px: "lora_forge_resolution" };
  let ui = {};
  const rows = new Map(); // what stands for a setting: {element, write}

  // ------------------------------------------------------------------ one setting

  // An input for a field; `read` gives its value (null: nothing sensible is in it), `write` shows one.
  function inputOf(field) {
    const make = { bool: checkbox, choice, choices, texts: lines }[field.kind] || (field.kind === "text" ? text : number);
    return make(field);
  }

  function number(field) {
    const input = part("input", { type: "number", step: field.kind === "int" ? field.step || 1 : "any" });
    if (field.least !== null && field.least !== undefined) input.min = field.least;
    if (field.most !== null && field.most !== undefined) input.max = field.most;
    const read = () => (input.value === "" || !Number.isFinite(Number(input.value)) ? undefined : Number(input.value));
    return { element: input, read, write: (value) => (input.value = String(value)) };
  }

  function checkbox() {
    const input = part("input", { type: "checkbox" });
    return { element: input, read: () => input.checked, write: (value) => (input.checked = Boolean(value)) };
  }

  function choice(field) {
    const input = part("select", {}, ...field.choices.map((one) => part("option", { value: one.value }, one.label)));
    return { element: input, read: () => input.value, write: (value) => (input.value = value) };
  }

  function choices(field) {
    const boxes = field.choices.map((one) => part("input", { type: "checkbox", value: one.value }));
    const element = part(
      "span.lf-choices",
      {},
      ...boxes.map((box, index) => part("label.lf-field", {}, box, part("span", {}, field.choices[index].label)))
    );
    const read = () => boxes.filter((box) => box.checked).map((box) => box.value);
    return { element, read, write: (value) => boxes.forEach((box) => (box.checked = value.includes(box.value))) };
  }

  function text() {
    const input = part("input", { type: "text" });
    return { element: input, read: () => input.value, write: (value) => (input.value = value) };
  }

  function lines() {
    const input = part("textarea", { rows: 3, spellcheck: false });
    const read = () => input.value.split("\n").map((line) => line.trim()).filter(Boolean);
    return { element: input, read, write: (value) => (input.value = value.join("\n")) };
  }

  function bind(key, input, element) {
    const take = () => {
      const value = input.read();
      if (value === undefined) {
        element.classList.add("lf-wrong");
        return;
      }
      if (key === "alpha") form.alphaIsOwn = true;
      train.set(key, value);
    };
    input.element.addEventListener("input", take);
    input.element.addEventListener("change", take);
    rows.set(key, { element, input });
  }

  const effectsOf = (field) =>
    ["quality", "time", "memory"].filter((name) => field.effect && field.effect[name]).map((name) => [name, field.effect[name]]);

  function rowOf(field) {
    const input = inputOf(field);
    const back = button("↺", () => train.reset(field.key), { title: say("back_to_default") });
    back.classList.add("lf-back");
    const was = part("span.lf-was");
    const row = part(
      "div.lf-setting",
      { data: { key: field.key } },
      part("label.lf-label", {}, part("span", {}, field.label), part("code", {}, field.key)),
      part("div.lf-control", {}, input.element, was, back),
      part(
        "div.lf-about",
        {},
        part("p", {}, field.help),
        ...effectsOf(field).map(([name, text]) => part("span.lf-effect", {}, part("b", {}, say(`effect_${name}`)), ` ${text}`)),
        part("span.lf-why", { hidden: true }),
        part("span.lf-problem-here", { hidden: true })
      )
    );
    input.element.setAttribute("aria-label", field.label);
    bind(field.key, input, row);
    return row;
  }

  const shown = (field, value) => {
    if (field.kind === "bool") return say(value ? "yes" : "no");
    const named = (one) => (field.choices.find((known) => known.value === one) || { label: one }).label;
    if (field.kind === "choice") return named(value);
    if (Array.isArray(value)) return value.map(field.kind === "choices" ? named : String).join(", ") || say("nothing");
    return value === "" ? say("nothing") : String(value);
  };

  // ------------------------------------------------------------------ all of them

  // The first of this part's two pieces: the frame is new, and nothing is drawn in it yet.
  function knobs() {
    rows.clear();
    ui = { knobs: part("div.lf-knobs"), key: "" };
    return ui.knobs;
  }

  function fold() {
    ui.search = part("input.lf-wide", { type: "search", placeholder: say("search_settings"), oninput: filter });
    ui.search.setAttribute("aria-label", say("search_settings"));
    ui.onlyChanged = part("input", { type: "checkbox", onchange: filter });
    ui.count = part("span.lf-count");
    ui.reset = button(say("all_default"), () => train.setAll({}));
    ui.groups = part("div.lf-groups");
    ui.none = part("p.lf-quiet", { hidden: true }, say("no_setting"));
    ui.fold = part(
      "details.lf-list",
      { id: "lora_forge_more" },
      part("summary", {}, part("b", {}, say("more_settings")), " ", ui.count),
      part(
        "div.lf-tools",
        {},
        ui.search,
        part("label.lf-field", {}, ui.onlyChanged, part("span", {}, say("only_changed"))),
        ui.reset
      ),
      ui.none,
      ui.groups
    );
    return ui.fold;
  }

  // New defaults: the rows are made once for each language and list of fields, their values each time.
  function draw() {
    if (!form.told) {
      ui.knobs.classList.add("lf-absent");
      return;
    }
    ui.knobs.classList.remove("lf-absent");
    const key = JSON.stringify([kit.language(), form.told.groups]);
    if (ui.key !== key) {
      ui.key = key;
      rebuild();
    }
    for (const { key: name, sentence, source } of form.told.why || []) sayWhy(name, sentence, source);
    refresh();
  }

  function rebuild() {
    rows.clear();
    put(ui.knobs, ...form.told.knobs.map((key) => knobOf(train.byKey(key))));
    const groups = form.told.groups.map((group) => {
      const fields = group.fields.filter((field) => !form.told.knobs.includes(field.key));
      if (!fields.length) return null;
      return part(
        "details.lf-group",
        { data: { group: group.id } },
        part("summary", {}, group.title, " ", part("span.lf-count")),
        ...fields.map(rowOf)
      );
    });
    put(ui.groups, ...groups);
  }

  function knobOf(field) {
    const input = inputOf(field);
    const was = part("span.lf-was");
    const back = button("↺", () => train.reset(field.key), { title: say("back_to_default") });
    back.classList.add("lf-back");
    const knob = part(
      "label.lf-knob",
      { id: KNOB_IDS[field.key], data: { key: field.key } },
      part("b", {}, field.label),
      part("span.lf-control", {}, input.element, back),
      part("small", {}, field.help),
      part("small.lf-problem-here", { hidden: true }),
      was
    );
    bind(field.key, input, knob);
    return knob;
  }

  function sayWhy(key, sentence, source) {
    const row = rows.get(key);
    const place = row && row.element.querySelector(".lf-why");
    if (!place) return;
    place.hidden = !sentence;
    put(place, part("b", {}, say("why_default")), ` ${sentence}`, source ? ` (${source})` : "");
  }

  // Values, marks and problems of all settings; an input that has the focus is left to the person.
  function refresh() {
    if (!form.told) return;
    const problems = new Map(((form.plan && form.plan.problems) || []).map((one) => [one.key, one.sentence]));
    for (const [key, { element, input }] of rows) {
      const field = train.byKey(key);
      const isChanged = key in form.values;
      if (!input.element.contains(document.activeElement)) {
        input.write(train.current(key));
        element.classList.remove("lf-wrong");
      } else if (input.read() !== undefined) element.classList.remove("lf-wrong");
      element.classList.toggle("lf-changed", isChanged);
      element.querySelector(".lf-was").textContent = isChanged ? say("default_is", { value: shown(field, train.usual(key)) }) : "";
      element.querySelector(".lf-back").hidden = !isChanged;
      const place = element.querySelector(".lf-problem-here");
      place.textContent = problems.get(key) || "";
      place.hidden = !problems.has(key);
    }
    count();
    filter();
  }

  function count() {
    const all = Object.keys(form.values).filter((key) => rows.has(key));
    const folded = all.filter((key) => !form.told.knobs.includes(key));
    ui.count.textContent = folded.length ? say("changed_count", { count: folded.length }) : "";
    ui.reset.disabled = !Object.keys(form.values).length;
    for (const group of ui.groups.children) {
      const marked = group.querySelectorAll(".lf-changed").length;
      group.querySelector("summary .lf-count").textContent = marked ? say("changed_count", { count: marked }) : "";
    }
  }

  function filter() {
    const wanted = ui.search.value.trim().toLowerCase();
    const isNarrow = Boolean(wanted) || ui.onlyChanged.checked;
    let found = 0;
    for (const group of ui.groups.children) {
      let here = 0;
      for (const row of group.querySelectorAll(".lf-setting")) {
        const fits = (!wanted || row.textContent.toLowerCase().includes(wanted)) && (!ui.onlyChanged.checked || row.classList.contains("lf-changed"));
        row.hidden = !fits;
        here += fits ? 1 : 0;
      }
      group.hidden = !here;
      found += here;
      if (isNarrow) group.open = true;
      else if (ui.wasNarrow) group.open = false;
    }
    ui.wasNarrow = isNarrow;
    ui.none.hidden = found > 0 || !ui.groups.children.length;
  }

  train.fields = { draw, fold, knobs, refresh, shown };
})();
