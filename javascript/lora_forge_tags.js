"use strict";
// The Tags step: what its files share: the book of captions, reading it, changing it, telling. The others add their part
// to it (auto, caption, field, many, set, traits, wall); the wall, loaded last, puts the step together.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.kit || forge.tags) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { get, part, post, project } = kit;
  const nothing = () => ({ photos: [], words: {}, revision: 0, trigger_word: "", limit: 75 });

  let queue = Promise.resolve(); // edits go one after the other, each on what the last one left
  let lookedAt = 0;

  const say = (key, values) => kit.say(desk.place, key, values);
  const tell = (text, kind) => kit.tell(desk.line, text, kind);
  const guarded = (act) => kit.guarded(desk.line, act);

  const desk = {
    place: null, // the frame of the step, null until it is in the page
    line: null, // where things are told
    grid: null, // of the photos
    book: null, // {revision, trigger, limit, captions: Map key -> {tags, tokens, text}}
    photos: new Map(), // by key, for thumbnails
    words: {}, // {zh, category} by tag
    counts: new Map(), // photos by tag
    order: [], // keys of all photos
    shownProject: null,
    client: Math.random().toString(36).slice(2),
    answered,
    draw,
    edit,
    guarded,
    lookForChanges,
    named,
    refresh,
    say,
    select,
    settled: () => queue,
    step,
    tagsIn,
    tell,
    zh,
  };

  // ------------------------------------------------------------------ what is there

  async function refresh() {
    if (!desk.place) return;
    const name = project();
    if (name !== desk.shownProject) {
      desk.shownProject = name;
      desk.wall.clear();
      desk.set.untickAll();
      tell("");
    }
    if (!name) return takeBook(nothing(), []);
    try {
      const [told, shown] = await Promise.all([get("tags", { project: name }), get("photos", { project: name })]);
      if (name === project()) takeBook(told, shown.photos);
    } catch (problem) {
      takeBook(nothing(), []);
      if (problem.status !== 400 && problem.status !== 404) tell(problem.message, "error");
      return;
    }
    desk.auto.fold();
    desk.traits.draw();
    desk.auto.draw();
  }

  function takeBook(told, shown) {
    desk.photos = new Map(shown.map((photo) => [photo.key, { ...photo, project: desk.shownProject }]));
    const captions = new Map(told.photos.map((one) => [one.key, one]));
    desk.book = { revision: told.revision, trigger: told.trigger_word, limit: told.limit, captions };
    desk.words = told.words || {};
    desk.order = told.photos.map((one) => one.key);
    desk.wall.showSteps(told);
    for (const problem of told.problems || []) tell(problem.what, "warning");
    recount();
    draw();
  }

  function takeChange(told) {
    desk.book.revision = told.revision;
    let isNew = Boolean(told.gone && told.gone.length);
    for (const [key, caption] of Object.entries(told.changed || {})) {
      if (!desk.book.captions.has(key)) isNew = true;
      else if (caption) desk.book.captions.set(key, { ...caption, key });
    }
    Object.assign(desk.words, told.words || {});
    if ("undo" in told) desk.wall.showSteps(told);
    recount();
    draw();
    if (isNew) refresh();
    desk.wall.findAgain();
  }

  function recount() {
    desk.counts = new Map();
    for (const { tags } of desk.book.captions.values()) for (const tag of new Set(tags)) desk.counts.set(tag, (desk.counts.get(tag) || 0) + 1);
  }

  function draw() {
    desk.set.draw();
    desk.wall.draw();
  }

  function zh(tag) {
    return (desk.words[tag] && desk.words[tag].zh) || "";
  }

  // What a person reads first is in their language; the tag itself stays beside it.
  function named(tag) {
    const other = desk.place.dataset.language === "zh" ? zh(tag) : "";
    return other ? [part("span", {}, other), part("small", {}, tag)] : [part("span", {}, tag)];
  }

  // ------------------------------------------------------------------ changing

  function edit(operation, keys) {
    const done = queue.then(() => send(operation, keys));
    queue = done.catch(() => {});
    return done;
  }

  async function send(operation, keys) {
    if (keys && !keys.length) {
      tell(say("scope_empty"), "warning");
      return;
    }
    await answered(() => post("tags/edit", { project: project(), base: desk.book.revision, operation, keys, client: desk.client }));
  }

  async function answered(act) {
    try {
      const told = await act();
      takeChange(told);
      const left = (told.left_out || []).filter(Boolean);
      const did = say("did", { label: told.label || "", count: Object.keys(told.changed || {}).length });
      tell([did, ...left].join(" "), left.length ? "warning" : "info");
    } catch (problem) {
      if (problem.told && problem.told.conflict) {
        takeChange(problem.told);
        tell(say("conflict"), "warning");
      } else {
        tell(problem.message, "error");
      }
    }
  }

  function step(name) {
    queue = queue.then(() => answered(() => post(`tags/${name}`, { project: project(), base: desk.book.revision }))).catch(() => {});
    return queue;
  }

  // Edits of other windows and of other programs.
  async function lookForChanges() {
    if (!desk.place || !desk.book || !desk.shownProject || kit.step() !== "tags" || !forge.isVisible() || Date.now() - lookedAt < 3000) return;
    lookedAt = Date.now();
    await (queue = queue.then(async () => {
      const told = await get("tags/changes", { project: project(), since: desk.book.revision });
      if (told.revision !== desk.book.revision) takeChange(told);
    }).catch(() => {}));
  }

  // ------------------------------------------------------------------ for the parts

  function select(prefix, names, value) {
    return part("select", {}, ...names.map((name) => part("option", { value: name, selected: name === value }, say(`${prefix}${name}`))));
  }

  function tagsIn(text) {
    return text.split(/[,，]/).map((tag) => tag.trim()).filter(Boolean);
  }

  forge.tags = desk;
})();
