"use strict";
// The Tags step: what its files share: the book of captions, reading it, changing it, telling. The others add their part
// to it (auto, caption, field, many, set, traits, wall); the wall, loaded last, puts the step together.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.kit || forge.tags) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { get, part, post, project } = kit;
  const nothing = () => ({ photos: [], words: {}, revision: 0, trigger_word: "", limit: 75 });

  const queue = kit.queue();
  let asked = null; // the project that is looked for
  let lookedAt = 0;

  const say = (key, values) => kit.say(desk.place, key, values);
  const tell = (text, kind) => kit.tell(desk.line, text, kind);
  const guarded = (act) => kit.guarded(desk.line, act);
  // An edit goes on what the last one left, a look on what was written.
  const inTurn = (act) => queue(() => guarded(act));

  const desk = {
    place: null, // the frame of the step, null until it is in the page
    line: null, // where things are told
    grid: null, // of the photos
    book: null, // {revision, trigger, limit, captions: Map key -> {tags, tokens, text}}
    photos: new Map(), // by key, for thumbnails
    words: {}, // {zh, category} by tag
    counts: new Map(), // photos by tag
    order: [], // keys of all photos
    shownProject: null, // whose captions these are; the field at the top may say another by now
    client: Math.random().toString(36).slice(2),
    answered,
    draw,
    edit,
    follow,
    guarded,
    inTurn,
    named,
    refresh,
    say,
    select,
    step,
    tagsIn,
    tell,
    zh,
  };

  // ------------------------------------------------------------------ what is there

  const read = kit.newest(() => inTurn(look));

  // Another project begins with nothing chosen.
  async function refresh() {
    if (!desk.place) return;
    if (project() !== asked) {
      asked = project();
      desk.wall.clear();
      desk.set.untickAll();
      tell("");
    }
    await read();
  }

  async function look() {
    const name = asked;
    try {
      const found = name ? await Promise.all([get("tags", { project: name }), get("photos", { project: name })]) : [nothing(), nothing()];
      if (name !== asked) return; // who asked for another one looks again
      takeBook(name, found[0], found[1].photos);
    } catch (problem) {
      if (name !== asked) return;
      takeBook(name, nothing(), []);
      if (problem.status !== 400 && problem.status !== 404) tell(problem.message, "error");
    }
    desk.auto.fold();
    desk.traits.draw();
    desk.auto.draw();
  }

  function takeBook(name, told, shown) {
    desk.shownProject = name;
    desk.photos = new Map(shown.map((photo) => [photo.key, { ...photo, project: name }]));
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
    const name = desk.shownProject;
    return inTurn(async () => {
      if (name !== desk.shownProject) return; // it was of photos that are no longer in sight
      if (keys && !keys.length) tell(say("scope_empty"), "warning");
      else await answered(() => post("tags/edit", { project: name, base: desk.book.revision, operation, keys, client: desk.client }));
    });
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
    return inTurn(() => answered(() => post(`tags/${name}`, { project: desk.shownProject, base: desk.book.revision })));
  }

  // Called a few times a second: another project, or edits of other windows and of other programs.
  function follow() {
    if (project() !== asked) refresh();
    else if (desk.shownProject && Date.now() - lookedAt >= 3000) lookForChanges();
  }

  const lookForChanges = kit.newest(() => inTurn(takeChanges));

  async function takeChanges() {
    lookedAt = Date.now();
    const told = await get("tags/changes", { project: desk.shownProject, since: desk.book.revision }).catch(() => null);
    if (told && told.revision !== desk.book.revision) takeChange(told);
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
