"use strict";
// The Train step: what its files share: the form's values and its proposals, the line that says what they come to, and
// the start. The others add their part to it (fields, presets, trial, live, queue); the step, loaded last, puts it together.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.kit || (forge.train && forge.train.form)) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { get, post, project } = kit;

  // `told`: the last answer of GET train/form. `values`: only what differs from its defaults.
  const form = { told: null, values: {}, name: "", trigger: "", plan: null, key: "", folder: "", prove: "off" };
  // The defaults follow the project, the type and the checkpoint.
  const load = kit.newest(look);
  const listeners = { form: [], plan: [], changed: [] };
  const on = (what, act) => listeners[what].push(act);
  const call = (what) => listeners[what].forEach((act) => act());

  const train = Object.assign(forge.train || {}, {
    place: null, // the frame of the step, null until it is in the page
    line: null, // where things are told
    form,
    on,
    body,
    byKey,
    current,
    guarded: (act) => kit.guarded(train.line, act),
    load,
    reset,
    say: (key, values) => kit.say(train.place, key, values),
    set,
    setAll,
    start,
    takeName,
    tell: (text, kind) => kit.tell(train.line, text, kind),
    usual,
  });

  // ------------------------------------------------------------------ the form's values

  const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

  // What the run would have of a setting.
  function current(key) {
    if (key in form.values) return form.values[key];
    return form.told ? usual(key) : undefined;
  }

  // What it has where nothing is said of it: whoever says how often previews come gets every one of them.
  function usual(key) {
    return key === "preview_share" && form.values.preview_every_steps ? 0 : form.told.defaults[key];
  }

  const isUsual = (key, value) => !(key in form.told.defaults) || same(value, usual(key));

  function byKey(key) {
    if (!form.told) return null;
    for (const group of form.told.groups) for (const field of group.fields) if (field.key === key) return field;
    return null;
  }

  function set(key, value) {
    if (!form.told) return void early.set(project(), { ...early.get(project()), [key]: value });
    if (value === null || isUsual(key, value)) delete form.values[key];
    else form.values[key] = value;
    if (key === "rank") followRank();
    changed();
  }

  // Scale is alpha / rank: a preset's ratio is kept while only the rank is changed.
  function followRank() {
    const { rank, alpha } = form.told.defaults;
    if (form.alphaIsOwn || !rank) return;
    const fitting = (alpha / rank) * current("rank");
    if (same(fitting, alpha)) delete form.values.alpha;
    else form.values.alpha = fitting;
  }

  function reset(key) {
    delete form.values[key];
    changed();
  }

  // A preset, a file, or the settings of another run.
  function setAll(values) {
    form.values = form.told ? { ...values } : {};
    if (form.told) leaveUsual();
    call("form");
    changed();
  }

  function leaveUsual() {
    const keys = Object.keys(form.values).filter((key) => key !== "preview_share");
    for (const key of [...keys, "preview_share"]) if (isUsual(key, form.values[key])) delete form.values[key];
  }

  function takeName(name, trigger) {
    if (name !== undefined) form.name = name;
    if (trigger !== undefined) form.trigger = trigger;
    changed();
  }

  function changed() {
    call("changed");
    planSoon();
    keepSoon();
  }

  // ------------------------------------------------------------------ asking

  let owner = null; // the project whose form is shown
  const early = new Map(); // by project: what was set before its form was there

  const chosen = () => ({ project: project(), kind: kit.kind(), language: kit.language() });

  async function look() {
    if (!train.place) return;
    const asked = chosen();
    const isOver = () => !same(asked, chosen()); // another one was chosen while the answer was on its way
    if (form.told && owner !== asked.project) {
      form.told = null; // what is set from now on is not for it
      call("form");
    }
    try {
      const told = await get("train/form", asked);
      if (isOver()) return void load();
      take(asked, told);
    } catch (problem) {
      if (isOver()) return void load();
      if (asked.project) train.tell(problem.message, problem.status === 400 || problem.status === 404 ? "info" : "error");
      form.told = null;
      call("form");
    }
  }

  function take(asked, told) {
    const before = form.told;
    const isSameProject = before && before.project === told.project;
    form.told = told;
    owner = asked.project;
    if (!isSameProject) {
      const draft = told.draft;
      if (draft && draft.kind !== asked.kind && chooseKind(draft.kind)) return void load(); // comes again with its own defaults
      form.values = { ...(draft && draft.kind === asked.kind ? draft.values : {}), ...early.get(owner) };
      if (early.delete(owner)) keepSoon();
      leaveUsual();
      form.name = told.name;
      form.trigger = (draft && draft.trigger_word) || told.trigger_word;
    } else if (before.kind !== told.kind) {
      form.values = {}; // choosing a type sets every default
    } else {
      leaveUsual();
    }
    call("form");
    planSoon();
  }

  function chooseKind(kind) {
    const choice = kit.$(`#lora_forge_kind input[value="${CSS.escape(kind)}"]`);
    if (!choice || choice.checked) return false;
    choice.click();
    form.told = null;
    return true;
  }

  // ------------------------------------------------------------------ what it comes to

  function body(more) {
    const [name, trigger_word] = [form.name.trim(), form.trigger.trim()];
    return { project: project(), kind: kit.kind(), name, trigger_word, values: form.values, ...more };
  }

  const plan = kit.newest(async () => {
    if (!form.told) return;
    const asked = JSON.stringify(body());
    const told = await post("train/plan", body()).catch((problem) => ({ problems: [{ key: "", sentence: problem.message }], sentence: "" }));
    if (asked !== JSON.stringify(body())) return; // whoever changed it asks again
    form.plan = told;
    call("plan");
  });
  const planSoon = kit.debounce(200, plan);

  // What was typed belongs to the project and the type it was typed for: by the time it is kept, others may be chosen.
  const drafts = new Map(); // by project
  const keep = kit.newest(async () => {
    const waiting = [...drafts.values()];
    drafts.clear();
    for (const draft of waiting) await post("train/draft", draft).catch(() => {}); // the next change keeps it
    await train.trial.load();
  });
  const keepLater = kit.debounce(600, keep);

  function keepSoon() {
    if (!form.told) return;
    const { project, kind } = form.told;
    drafts.set(project, { ...body(), project, kind });
    keepLater();
  }

  // ------------------------------------------------------------------ the start

  async function start(more) {
    await train.guarded(async () => {
      if (!form.told || form.told.project !== project() || form.told.kind !== kit.kind()) await load(); // its own settings
      const asked = body({ prove: form.prove, folder: form.folder, queue: true, ...more });
      const told = await post("start", asked);
      train.tell(train.say(told.state === "queued" ? "queued" : "started", { name: asked.name }), "good");
      if (train.live) train.live.follow(asked.project, asked.name);
      form.name = "";
      await load();
      if (form.told) form.name = form.name || form.told.name;
      call("form");
      keepSoon();
    });
  }

  // ------------------------------------------------------------------ following the page

  let seen = "";

  train.follow = () => {
    if (!train.place) return;
    const checkpoint = kit.$("#lora_forge_checkpoint input");
    const base = kit.$("#lora_forge_base");
    const now = [project(), kit.kind(), checkpoint && checkpoint.value, base && base.textContent, kit.language()].join("\n");
    if (now === seen) return;
    seen = now;
    load();
  };

  forge.train = train;
})();
