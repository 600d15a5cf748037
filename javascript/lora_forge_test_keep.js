"use strict";
// The Keep step: one epoch becomes a file of its own with its card; the others go to the archive, and can come back.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.test || forge.keep) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { address, button, get, part, post, project, put, wait } = kit;

  const THUMB_PX = 256;
  let place = null;
  let ui = {};
  let told = null;
  let own = {}; // what a person has typed for this cell, by key
  let picture = null; // null: the first of the pictures

  const say = (key, values) => kit.say(place, key, values);
  const knob = (key, control, hint) =>
    part("label.lf-knob", { data: { key } }, part("b", {}, say(key)), control, hint ? part("small", {}, say(hint)) : null);

  // ------------------------------------------------------------------ asking

  // The cell is the Test step's: what is chosen here is chosen there, and the other way round.
  function wanted() {
    const { name, epoch, strength } = forge.test.now();
    return { project: project(), kind: kit.kind(), name, epoch, strength, language: kit.language() };
  }

  const load = kit.newest(async () => {
    if (!place || !project()) return;
    const asked = wanted();
    await kit.guarded(ui.line, async () => {
      const answer = await get("keep/form", asked);
      if (JSON.stringify(asked) === JSON.stringify(wanted())) take({ ...answer, project: asked.project }); // else it comes again
    });
  });

  function take(answer) {
    const isOther = !told || told.name !== answer.name || told.epoch !== answer.epoch || told.new_name !== answer.new_name;
    told = answer;
    if (isOther) [own, picture] = [{}, null];
    draw();
  }

  const choose = () => forge.test.choose({ name: told.name, epoch: Number(ui.epoch.value), strength: strength() });

  const keepIt = () =>
    guardedPress(ui.keep, async () => {
      const chosen = picture === null ? told.pictures[0] || "" : picture;
      const body = {
        project: told.project, name: told.name, epoch: told.epoch, strength: strength(), bake: ui.bake.checked, picture: chosen,
        new_name: ui.name.value, activation: ui.activation.value, weight: Number(ui.weight.value) || null,
        negative: ui.negative.value, notes: ui.notes.value,
      };
      done(await post("keep/keep", body), body.new_name);
    });

  const bringBack = (id, pressed) => guardedPress(pressed, async () => done(await post("keep/undo", { id })));
  const finish = (id, pressed) => guardedPress(pressed, async () => done(await post("keep/go_on", { id })));

  async function done(answer) {
    forge.refreshLoras();
    const undo = answer.undo ? button(say("undo"), () => bringBack(answer.undo, undo), { id: "lora_forge_keep_undo" }) : null;
    [own, picture] = [{}, null];
    await load();
    put(ui.said, part("div.lf-note.lf-good", { role: "status" }, answer.sentence), undo ? part("div.lf-tools", {}, undo) : null);
  }

  // A press that is at work can't be pressed again.
  async function guardedPress(pressed, act) {
    pressed.disabled = true;
    kit.tell(ui.refused, "");
    put(ui.said);
    const isDone = await kit.guarded(ui.refused, async () => (await act(), true));
    pressed.disabled = false;
    if (!isDone) refreshArchive();
  }

  // What was refused in the middle may have left something to finish.
  async function refreshArchive() {
    const answer = await get("keep/form", { project: project(), kind: kit.kind(), name: ui.lora.value }).catch(() => null);
    if (!answer || !told) return;
    told.archive = answer.archive;
    drawArchive();
  }

  // ------------------------------------------------------------------ the form

  const strength = () => (Number.isFinite(ui.strength.valueAsNumber) ? ui.strength.valueAsNumber : told.strength);

  function field(key, made) {
    made.addEventListener("input", () => {
      own[key] = made.value;
      drawWeight();
    });
    return made;
  }

  function build(where) {
    place = where;
    told = null;
    const text = (key, props) => field(key, part("input", { type: "text", spellcheck: false, ...props }));
    ui = {
      line: part("div.lf-told", { hidden: true }), // what the form says of itself, with each answer anew
      refused: part("div.lf-told", { hidden: true }), // what a press was refused with, until the next one
      said: part("div"),
      empty: part("p.lf-quiet"),
      which: part("div.lf-knobs"),
      form: part("div.lf-keep-form"),
      lora: part("select", { id: "lora_forge_keep_lora", onchange: () => forge.test.choose({ name: ui.lora.value }) }),
      epoch: part("select", { id: "lora_forge_keep_epoch", onchange: choose }),
      strength: part("input", { type: "number", id: "lora_forge_keep_strength", min: 0.05, max: 4, step: 0.05, onchange: choose }),
      advice: part("div.lf-tools"),
      name: text("new_name", { id: "lora_forge_keep_name" }),
      bake: part("input", { type: "checkbox", id: "lora_forge_keep_bake", onchange: drawWeight }),
      bakeHint: part("small"),
      pictures: part("div.lf-keep-pictures"),
      activation: text("activation", { id: "lora_forge_keep_activation" }),
      weight: field("weight", part("input", { type: "number", min: 0.05, max: 4, step: 0.05, id: "lora_forge_keep_weight" })),
      negative: text("negative"),
      notes: field("notes", part("textarea", { rows: 2 })),
      away: part("details.lf-list"),
      archive: part("details.lf-list", { id: "lora_forge_archive" }),
    };
    ui.keep = button(say("keep"), keepIt, { id: "lora_forge_keep_it" });
    ui.keep.classList.add("lf-primary", "lf-big");
    ui.own = [knob("epoch", ui.epoch), knob("strength", ui.strength), knob("new_name", ui.name, "new_name_hint")];
    put(ui.which, knob("lora", ui.lora), ...ui.own);
    put(
      ui.form,
      ui.advice,
      part("div.lf-keep-bake", {}, part("label.lf-field", {}, ui.bake, part("b", {}, say("bake"))), ui.bakeHint),
      part("div.lf-knob", {}, part("b", {}, say("picture")), ui.pictures),
      part("div.lf-keep-card", {}, knob("activation", ui.activation, "activation_hint"), knob("weight", ui.weight, "weight_hint")),
      part("details.lf-list", {}, part("summary", {}, say("more")), part("div.lf-keep-more", {}, knob("negative", ui.negative), knob("notes", ui.notes))),
      ui.away,
      part("div.lf-tools", {}, ui.keep)
    );
    put(place, ui.empty, ui.which, ui.form, ui.line, ui.refused, ui.said, ui.archive);
    draw();
    load();
  }

  // ------------------------------------------------------------------ drawing

  function draw() {
    const has = Boolean(told && told.epochs.length);
    ui.form.hidden = !has;
    ui.empty.hidden = has;
    ui.empty.textContent = say("nothing");
    ui.which.hidden = !(told && told.names.length);
    for (const one of ui.own) one.hidden = !has;
    drawArchive();
    const names = told ? told.names : [];
    put(ui.lora, ...(has ? [] : [""]).concat(names).map((one) => part("option", { value: one }, one)));
    ui.lora.value = has ? told.name : "";
    if (!has) return;
    put(ui.epoch, ...told.epochs.map((one) => part("option", { value: String(one) }, String(one))));
    ui.epoch.value = String(told.epoch);
    if (document.activeElement !== ui.strength) ui.strength.value = String(Number(told.strength.toFixed(3)));
    for (const key of ["new_name", "activation", "negative", "notes"]) {
      const element = key === "new_name" ? ui.name : ui[key];
      if (document.activeElement !== element) element.value = key in own ? own[key] : told[key];
    }
    drawWeight();
    drawPictures();
    drawAdvice();
    drawAway();
    kit.tell(ui.line, told.problem, "error");
    ui.keep.disabled = Boolean(told.problem);
  }

  // Until somebody types another: what makes the card draw the chosen cell.
  function drawWeight() {
    if (!told) return;
    if (!("weight" in own)) ui.weight.value = String(ui.bake.checked ? 1 : strength());
    ui.bake.disabled = strength() === 1;
    ui.bakeHint.textContent = say(ui.bake.disabled ? "bake_one" : "bake_hint", { strength: strength() });
    if (ui.bake.disabled) ui.bake.checked = false;
  }

  function drawPictures() {
    const chosen = picture === null ? told.pictures[0] || "" : picture;
    const pick = (path) => {
      picture = path;
      drawPictures();
    };
    const tile = (path, label, inner) =>
      part("button.lf-keep-picture", { type: "button", "aria-pressed": String(path === chosen), title: label, onclick: () => pick(path) }, inner);
    const shown = told.pictures.map((path, index) => {
      const label = say("picture_number", { number: index + 1 });
      return tile(path, label, part("img", { src: address("picture", { path, side: THUMB_PX }), alt: label, draggable: false }));
    });
    put(ui.pictures, ...shown, tile("", say("picture_none"), part("span.lf-quiet", {}, say("picture_none"))));
  }

  // What the test that is looked at found best, where that is another cell.
  function drawAdvice() {
    const state = forge.test.state();
    const best = state && state.name === told.name ? state.recommendation : null;
    const isHere = best && best.epoch === told.epoch && Math.abs(best.strength - strength()) < 0.001;
    if (!best || !best.is_usable || isHere || !told.epochs.includes(best.epoch)) return put(ui.advice);
    const takeIt = button(say("take_recommended"), () => forge.test.choose({ epoch: best.epoch, strength: best.strength }));
    return put(ui.advice, part("span", {}, say("recommended", best)), takeIt);
  }

  function drawAway() {
    const megabytes = (told.other_bytes / 1e6).toFixed(told.other_bytes < 1e7 ? 1 : 0);
    const isOpen = ui.away.open;
    put(
      ui.away,
      part("summary", { title: say("away_list") }, say("away", { count: told.others.length, megabytes })),
      part("ul", {}, ...told.others.map((name) => part("li", {}, name)))
    );
    ui.away.open = isOpen;
  }

  function drawArchive() {
    const rows = told ? told.archive : [];
    ui.archive.hidden = !rows.length;
    const isUnfinished = rows.some((row) => row.is_unfinished);
    put(ui.archive, part("summary", {}, say("archive", { count: rows.length })), ...rows.map(archiveRow));
    if (isUnfinished) ui.archive.open = true;
  }

  function archiveRow(row) {
    const date = new Date(row.made_at * 1000).toLocaleString(kit.language() === "zh" ? "zh-CN" : undefined, { dateStyle: "medium", timeStyle: "short" });
    const undo = button(say("undo"), () => bringBack(row.id, undo));
    const goOn = row.is_unfinished ? button(say("go_on"), () => finish(row.id, goOn)) : null;
    const mark = row.is_unfinished ? part("b.lf-short", {}, say("unfinished")) : null;
    return part(
      "div.lf-run-row",
      { data: { id: row.id } },
      part("span.lf-wide", { title: row.sentence }, part("b", {}, say("archive_line", { file: row.file, date })), " ", part("span.lf-quiet", {}, row.sentence)),
      mark,
      part("span.lf-tools", {}, goOn, undo)
    );
  }

  // ------------------------------------------------------------------ when

  const isOpen = () => kit.step() === "keep";
  forge.test.on("chosen", () => place && isOpen() && load());
  forge.test.on("state", () => place && isOpen() && told && told.epochs.length && drawAdvice());
  kit.onStep((name) => name === "keep" && load());
  kit.mount("#lora_forge_keep .lf-keep", build);

  forge.keep = { load, wait };
})();
