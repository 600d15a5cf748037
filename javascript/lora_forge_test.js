"use strict";
// The Test step: what its files share: the form's values, the test that is looked at, which cell is chosen. Album, rounds
// and the Keep step follow it.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.kit || forge.test) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { get, kind, post, project } = kit;

  // `told`: the last answer of GET test/form. `values`: what a person changed of it.
  const form = { told: null, values: {}, plan: null, key: "" };
  // `id`: the test that is looked at; `told`: its GET test/state, with all its cells by "epoch:strength".
  const shown = { id: "", told: null, cells: new Map() };
  // `isNamed`: a person chose the LoRA; else it is the project's newest. `isOwn`: a person chose the cell; else it follows
  // the recommendation.
  const chosen = { name: "", isNamed: false, epoch: null, strength: null, isOwn: false };
  const NO_CELL = { epoch: null, strength: null, isOwn: false };
  // What is proposed follows the project, the type, the LoRA and the checkpoint.
  const load = kit.newest(look);
  const refresh = kit.newest(read);
  const listeners = { form: [], plan: [], state: [], chosen: [] };
  const on = (what, act) => listeners[what].push(act);
  const call = (what) => listeners[what].forEach((act) => act());

  const test = {
    place: null, // the frame of the step, null until it is in the page
    line: null, // where things are told
    body,
    cell: (epoch, strength) => shown.cells.get(keyOf(epoch, strength)),
    choose,
    current,
    follow,
    forget,
    form,
    guarded: (act) => kit.guarded(test.line, act),
    keyOf,
    load,
    now,
    on,
    say: (key, values) => kit.say(test.place, key, values),
    set,
    show,
    start,
    state: () => shown.told,
    tell: (text, how) => kit.tell(test.line, text, how),
  };

  // Strength 0 is one picture for all epochs.
  function keyOf(epoch, strength) {
    return Number(strength) ? `${epoch}:${Number(strength)}` : "0:0";
  }

  // ------------------------------------------------------------------ what is chosen

  const keyNow = () => `${project()}:${kind()}`;

  // What the panels beside this one go by.
  function now() {
    if (keyNow() !== form.key) return { project: project(), kind: kind(), name: "", id: "", epoch: null, strength: null }; // not yet
    return { project: project(), kind: kind(), name: chosen.name, id: shown.id, epoch: chosen.epoch, strength: chosen.strength };
  }

  // Any of {name, id, epoch, strength}.
  function choose(wanted) {
    const { id, name, ...cell } = wanted;
    const isOther = name !== undefined && name !== chosen.name;
    if (isOther) Object.assign(chosen, { name, ...NO_CELL });
    if (name !== undefined) chosen.isNamed = true;
    if (Object.keys(cell).length) Object.assign(chosen, cell, { isOwn: true });
    call("chosen");
    if (isOther && !(form.told && form.told.name === name)) {
      form.values = {};
      load();
    }
    if (id !== undefined && id !== shown.id) test.guarded(() => show(id));
  }

  // ------------------------------------------------------------------ the form's values

  function current(key) {
    if (key in form.values) return form.values[key];
    return form.told ? form.told[key] : undefined;
  }

  function set(key, value) {
    if (form.told && JSON.stringify(form.told[key]) === JSON.stringify(value)) delete form.values[key];
    else form.values[key] = value;
    planSoon();
  }

  const FIELDS = ["epochs", "strengths", "prompt", "swaps", "negative", "width", "height", "steps", "guidance", "sampler", "clip_skip", "seed", "seeds"];

  // What a test is asked for with.
  function body() {
    const made = { project: project(), kind: kind(), name: chosen.name, mode: form.values.mode || "smart" };
    for (const key of FIELDS) if (current(key) !== undefined) made[key] = current(key);
    return made;
  }

  // ------------------------------------------------------------------ asking

  // Another project or type begins with nothing chosen.
  function begin() {
    Object.assign(form, { key: keyNow(), values: {} });
    Object.assign(chosen, { name: "", isNamed: false, ...NO_CELL });
    shown.id = "";
    forget();
    call("state");
  }

  // A LoRA is named where one is meant, else the project's newest comes.
  function wanted() {
    const isMeant = chosen.isNamed || Object.keys(form.values).length > 0;
    return { project: project(), kind: kind(), name: isMeant ? chosen.name : "", language: kit.language() };
  }

  async function look() {
    if (!test.place || !project()) return;
    await test.guarded(async () => {
      if (keyNow() !== form.key) begin();
      const asked = wanted();
      const told = await get("test/form", asked);
      if (JSON.stringify(asked) !== JSON.stringify(wanted())) return void load(); // something else was chosen meanwhile
      form.told = told;
      if (told.name !== chosen.name) {
        if (chosen.name) form.values = {};
        Object.assign(chosen, { name: told.name, isNamed: false, ...NO_CELL });
      }
      call("form");
      call("chosen");
      planSoon();
      const known = told.tests.find((one) => one.id === shown.id);
      if (!known) await show(told.tests.length ? told.tests[0].id : "");
      else if (!shown.told) await refresh();
      return undefined;
    });
  }

  const plan = kit.newest(async () => {
    if (!chosen.name || !test.place) return;
    const asked = body();
    const told = await post("test/plan", asked).catch((problem) => ({ problems: [{ key: "", sentence: problem.message }] }));
    if (JSON.stringify(asked) !== JSON.stringify(body())) return; // whoever changed it asks again
    form.plan = told;
    call("plan");
  });
  const planSoon = kit.debounce(250, plan);

  function start() {
    return test.guarded(async () => {
      test.tell("");
      const { id } = await post("test/start", body());
      await load();
      await show(id);
      test.tell(test.say("started"), "good");
    });
  }

  // ------------------------------------------------------------------ one test

  async function show(id) {
    if (id !== shown.id) Object.assign(chosen, NO_CELL);
    shown.id = id;
    forget();
    if (id) await refresh();
    else call("state");
    call("chosen");
  }

  // Its sentences are to come in another language.
  function forget() {
    Object.assign(shown, { told: null, cells: new Map() });
  }

  async function read() {
    const { id, cells, told: before } = shown;
    if (!id) return;
    const since = before ? before.revision : 0;
    const told = await get("test/state", { project: project(), id, since });
    if (cells !== shown.cells) return void refresh(); // another test was chosen meanwhile, or another language
    if (before && told.revision === since && told.state === before.state) return;
    for (const cell of told.cells) cells.set(keyOf(cell.epoch, cell.strength), cell);
    shown.told = told;
    takeBest(told);
    call("state");
  }

  // The recommended cell is the chosen one until a person chooses another.
  function takeBest(told) {
    if (chosen.isOwn || !told.recommendation || told.name !== chosen.name) return;
    const { epoch, strength } = told.recommendation;
    if (chosen.epoch === epoch && chosen.strength === strength) return;
    Object.assign(chosen, { epoch, strength });
    call("chosen");
  }

  let asked = 0;

  // Called a few times a second: looks again while the test is at work.
  function follow() {
    const { told, id } = shown;
    if (!id || Date.now() - asked < 1000) return;
    if (told && told.state !== "running") return;
    asked = Date.now();
    refresh().catch(() => {}); // the live line says that the program is lost
  }

  test.refresh = refresh;
  forge.test = test;
})();
