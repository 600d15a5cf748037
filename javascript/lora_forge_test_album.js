"use strict";
// The generalisation test (云旅游): a picture for each scene, with ticks, beside real photos; and one picture to share.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.test || forge.album) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { $, button, get, part, post, put } = kit;
  const test = forge.test;

  const SMALL_PX = 512;
  const LARGE_PX = 1024;
  const LEAST = 0.7; // as evaluate/acceptance.py has it
  const KEPT_SHEET = "lora_forge_sheet_photos";

  let place = null;
  let ui = {};
  // `told`: GET album/form; `album`: GET album/state of the one that is looked at.
  const now = { told: null, album: null, id: "", chosen: new Set(), own: "", epoch: null, strength: null };
  const say = (key, values) => kit.say(place, key, values);
  const guarded = (act) => kit.guarded(ui.line, act);
  const percent = (value) => `${Math.round(100 * value)} %`;
  const isRunning = () => Boolean(now.album && now.album.state === "running");

  // ------------------------------------------------------------------ the frame

  function build(made) {
    place = made;
    ui = {
      line: part("div.lf-told", { hidden: true }),
      which: part("b.lf-album-which"),
      epoch: part("select", { onchange: () => (now.epoch = Number(ui.epoch.value)) }),
      strength: part("input", { type: "number", min: 0.1, max: 2, step: 0.1, oninput: () => (now.strength = ui.strength.valueAsNumber) }),
      scenes: part("details.lf-list.lf-scenes", { id: "lora_forge_scenes" }),
      own: part("textarea", { rows: 2, spellcheck: false, value: now.own, oninput: () => ((now.own = ui.own.value), count()) }),
      seed: part("input", { type: "number", min: 0, step: 1, value: 0 }),
      steps: part("input", { type: "number", min: 1, max: 150, step: 1 }),
      judges: part("div"),
      albums: part("select", { id: "lora_forge_albums", onchange: () => guarded(() => show(ui.albums.value)) }),
      shown: part("div.lf-album-shown", { id: "lora_forge_album_shown" }),
    };
    ui.start = button("", start, { id: "lora_forge_album_start" });
    ui.start.classList.add("lf-primary", "lf-big");
    ui.older = part("label.lf-field.lf-older", { hidden: true }, part("span", {}, say("albums")), ui.albums);
    put(
      place,
      part("h3", {}, say("title")),
      part("p.lf-quiet", {}, say("about")),
      part("div.lf-tools", {}, ui.which, field("epoch", ui.epoch), field("strength", ui.strength)),
      ui.scenes,
      ui.judges,
      part("div.lf-tools", {}, ui.start, ui.older),
      ui.line,
      ui.shown
    );
    if (now.told) {
      ui.steps.value = now.told.steps;
      draw();
    }
    refresh(true);
  }

  const field = (key, control) => part("label.lf-field", { data: { key } }, part("span", {}, say(key)), control);

  // ------------------------------------------------------------------ asking

  let key = ""; // what was asked for; "" where no answer came of it
  const keyOf = ({ project, kind, name }) => [project, kind, name, kit.language()].join("\n");
  const load = kit.newest(() => guarded(look));

  // What is offered follows the project, the type, the LoRA and the cell that is chosen in the grid.
  async function refresh(isNew) {
    const wanted = test.now();
    takeCell(wanted);
    if (place && wanted.project && (isNew || keyOf(wanted) !== key)) await load();
  }

  async function look() {
    const [wanted, { id }] = [test.now(), now];
    key = keyOf(wanted);
    const told = await get("album/form", { project: wanted.project, kind: wanted.kind, name: wanted.name || "" }).catch((problem) => {
      key = "";
      throw problem;
    });
    if (keyOf(test.now()) !== key) return void (key = ""); // whoever chose another one asks again
    if (id !== now.id) return void load(); // one that this answer knows nothing of
    const isOther = !now.told || now.told.project !== wanted.project || now.told.kind !== wanted.kind;
    now.told = { ...told, project: wanted.project, kind: wanted.kind };
    if (isOther) {
      usual();
      ui.steps.value = told.steps;
    }
    const known = told.albums.some((one) => one.id === now.id);
    if (!now.epoch || !told.epochs.includes(now.epoch)) now.epoch = told.epoch;
    if (now.strength === null) now.strength = told.strength;
    await show(known ? now.id : told.albums.length ? told.albums[0].id : "");
    draw();
  }

  // The cell that is chosen in the grid is the one to test.
  function takeCell({ epoch, strength }) {
    if (!epoch || !strength || `${epoch}:${strength}` === now.cell) return;
    Object.assign(now, { cell: `${epoch}:${strength}`, epoch, strength });
    if (now.told) drawWhich();
  }

  async function show(id) {
    now.id = id;
    const album = id ? await get("album/state", { project: test.now().project, id }) : null;
    if (id !== now.id) return;
    now.album = album;
    drawAlbum();
  }

  const start = () =>
    guarded(async () => {
      const { project, kind } = test.now();
      const own = ui.own.value.split("\n").map((one) => one.trim()).filter(Boolean);
      const seed = ui.seed.valueAsNumber || 0;
      const more = Number.isFinite(ui.steps.valueAsNumber) ? { steps: ui.steps.valueAsNumber } : {};
      const scenes = [...now.chosen];
      const { id } = await post("album/start", { project, kind, name: now.told.name, epoch: now.epoch, strength: now.strength, scenes, own, seed, ...more });
      kit.tell(ui.line, say("started"), "good");
      now.id = id;
      await refresh(true);
    });

  const resume = () =>
    guarded(async () => {
      await post("album/resume", { project: test.now().project, id: now.id });
      await refresh(true);
    });

  const stop = () =>
    guarded(async () => {
      await post("command", { command: "stop" });
      kit.tell(ui.line, say("stopping"));
    });

  const remove = () =>
    guarded(async () => {
      await post("album/remove", { project: test.now().project, id: now.id });
      kit.tell(ui.line, say("removed"), "good");
      await refresh(true);
    });

  let asked = 0;

  const follow = kit.newest(async () => {
    if (!place || !isRunning() || Date.now() - asked < 1000) return;
    asked = Date.now();
    const { id } = now;
    try {
      const album = await get("album/state", { project: test.now().project, id });
      if (id !== now.id) return;
      now.album = album;
      drawAlbum();
      if (album.state !== "running") {
        kit.tell(ui.line, "");
        await refresh(true);
      }
    } catch (_) {
      // the live line says that the program is lost
    }
  });

  // ------------------------------------------------------------------ what is chosen

  function usual() {
    now.chosen = new Set(now.told.scenes.filter((one) => one.is_chosen).map((one) => one.id));
  }

  function count() {
    const own = ui.own.value.split("\n").filter((one) => one.trim()).length;
    const total = now.chosen.size + own;
    $("summary", ui.scenes).textContent = say("scenes", { count: total });
    ui.start.textContent = say("start", { count: total });
    ui.start.disabled = !total || !now.told.name;
  }

  function drawScenes() {
    const groups = new Map();
    for (const one of now.told.scenes) groups.set(one.group, [...(groups.get(one.group) || []), one]);
    const pick = (act) => () => (act(), drawScenes());
    put(
      ui.scenes,
      part("summary"),
      ...[...groups].map(([title, scenes]) => part("div.lf-scene-group", {}, part("b", {}, title), part("div.lf-chips", {}, ...scenes.map(chip)))),
      part("div.lf-tools", {}, button(say("nine"), pick(usual)), button(say("none"), pick(() => now.chosen.clear()))),
      part("label.lf-knob", {}, part("b", {}, say("own")), ui.own, part("small", {}, say("own_hint"))),
      part("div.lf-tools", {}, field("steps", ui.steps), field("seed", ui.seed), part("small.lf-quiet", {}, say("seed_hint")))
    );
    count();
  }

  function chip(scene) {
    const box = part("input", { type: "checkbox", checked: now.chosen.has(scene.id) });
    box.addEventListener("change", () => {
      if (box.checked) now.chosen.add(scene.id);
      else now.chosen.delete(scene.id);
      count();
    });
    const warns = scene.contradicts ? say("contradicts", { tag: scene.contradicts }) : "";
    const made = part("label.lf-scene", { title: warns ? `${scene.prompt}\n${warns}` : scene.prompt, data: { id: scene.id } }, box, part("span", {}, scene.label));
    made.classList.toggle("lf-scene-odd", Boolean(warns));
    return made;
  }

  function draw() {
    if (!place || !now.told) return;
    drawWhich();
    drawScenes();
    drawJudges();
    ui.older.hidden = !now.told.albums.length;
    put(ui.albums, ...now.told.albums.map((one) => part("option", { value: one.id, selected: one.id === now.id }, rowText(one))));
    drawAlbum();
  }

  function drawWhich() {
    const { name, epochs } = now.told;
    ui.which.textContent = name || say("no_lora");
    for (const control of [ui.epoch, ui.strength]) control.closest("label").hidden = !name;
    put(ui.epoch, ...epochs.map((one) => part("option", { value: one, selected: one === now.epoch }, one)));
    if (document.activeElement !== ui.strength) ui.strength.value = now.strength;
  }

  function drawJudges() {
    const { judges, missing } = now.told;
    const names = judges.map((one) => say("judge", { title: one.title, name: one.name })).join(" · ");
    put(
      ui.judges,
      judges.length ? part("p.lf-quiet", {}, say("judged_by", { judges: names })) : null,
      ...missing.map((one) => part("p.lf-quiet.lf-album-missing", {}, `${say("missing", { title: one.title })} ${one.sentence}`))
    );
  }

  const stateOf = (one) => {
    if (one.state !== "done") return say(`state_${one.state}`);
    return say(one.is_pass === null ? "state_untold" : one.is_pass ? "state_pass" : "state_not_yet");
  };

  function rowText(one) {
    const when = new Date(one.made_at * 1000).toLocaleString(kit.language() === "zh" ? "zh-CN" : "en", { dateStyle: "short", timeStyle: "short" });
    return say("album_row", { name: one.name, epoch: one.epoch, strength: one.strength, state: stateOf(one), when });
  }

  // ------------------------------------------------------------------ the pictures

  const source = (path, side) => kit.address("picture", { path, side });
  const photoSource = (key, side) => source(`${test.now().project}/images/${key}`, side);

  function drawAlbum() {
    if (!place) return;
    const { album } = now;
    const shown = JSON.stringify([kit.language(), album]);
    if (shown === ui.shownKey) return; // a button that was made anew under the pointer would not be pressed
    ui.shownKey = shown;
    if (!album) return void put(ui.shown);
    const real = album.photos.map((key, index) => photo(key, index));
    put(
      ui.shown,
      bar(album),
      verdict(album),
      part("div.lf-album-sides", {}, pictures(album), part("div.lf-album-real", {}, part("b", {}, say("real")), part("div.lf-album-photos", {}, ...real))),
      album.done ? tools(album) : null
    );
  }

  function pictures(album) {
    const made = part("div.lf-album-pictures", {}, ...album.pictures.map(tile));
    made.classList.toggle("lf-nine", album.pictures.length <= 9);
    return made;
  }

  function bar(album) {
    if (album.state === "done") return null;
    const share = album.total ? (100 * album.done) / album.total : 0;
    const line = part("div.lf-bar", { role: "progressbar" }, part("i", { style: `width:${share}%` }));
    const text = part("span", {}, part("b", {}, stateOf(album)), ` ${say("progress", { done: album.done, total: album.total })}`);
    const act = isRunning() ? button(say("stop"), stop) : album.can_resume ? button(say("resume"), resume) : null;
    const problem = album.error ? part("div.lf-note.lf-error", { role: "alert" }, album.error) : null;
    return part("div", { data: { state: album.state } }, part("div.lf-tools", {}, text, act), isRunning() ? line : null, problem);
  }

  function verdict(album) {
    if (!album.verdict || isRunning()) return null;
    const { is_pass: isPass, what, advice } = album.verdict;
    const kind = isPass ? "good" : isPass === null ? "info" : "warning";
    const title = say(isPass ? "verdict_pass" : isPass === null ? "verdict_untold" : "verdict_not_yet");
    return part(
      `div.lf-note.lf-${kind}`,
      { id: "lora_forge_album_verdict", role: "status" },
      part("b.lf-album-stamp", { data: { pass: String(isPass) } }, title),
      part("span", {}, advice ? `${what} ${advice}` : what)
    );
  }

  function tile(one, index) {
    const frame = part("button.lf-album-open", { type: "button", title: one.prompt, disabled: !one.path, "aria-label": `${say("open")}: ${one.label}` });
    if (one.path) {
      frame.append(part("img", { src: source(one.path, SMALL_PX), alt: one.label, loading: "lazy", decoding: "async" }));
      frame.addEventListener("click", () => view(index));
    } else frame.append(part("span.lf-quiet", {}, say("waiting")));
    const made = part("figure.lf-album-tile", { data: { scene: one.scene } }, frame, part("figcaption", {}, part("b", {}, one.label), part("div.lf-ticks", {}, ...ticks(one))));
    if (one.path && one.is_ok !== null) made.dataset.ok = String(one.is_ok);
    return made;
  }

  // ✓, ✗, or a dash where nothing can be held against the LoRA.
  function tick(isOk, text, title) {
    const sign = isOk === null ? "–" : isOk ? "✓" : "✗";
    return part("span.lf-tick", { title, data: { ok: String(isOk) } }, part("i", {}, sign), text);
  }

  function ticks(one) {
    if (!one.path) return [];
    const made = [];
    if (one.identity) {
      const { value, is_ok: isOk } = one.identity;
      made.push(tick(isOk, `${say("likeness")} ${percent(value)}`, say("likeness_value", { value: percent(value), least: percent(LEAST) })));
    }
    made.push(...one.asks.map((ask) => tick(ask.is_ok, ask.label, askTitle(ask))));
    if (one.is_broken) made.push(tick(false, say("broken"), say("broken_hint")));
    if (one.is_copied) made.push(tick(false, say("copied"), say("copied_hint")));
    return made;
  }

  function askTitle({ chance, base, is_ok: isOk }) {
    if (chance === null) return say("ask_untold");
    const values = { chance: percent(chance), base: base === null ? "?" : percent(base) };
    if (isOk) return say("ask_yes", values);
    if (base === null) return say("ask_waits", values);
    return say(isOk === null ? "ask_base" : "ask_no", values);
  }

  function photo(key, index) {
    const name = say("real_photo", { number: index + 1 });
    return part("img", { src: photoSource(key, SMALL_PX), alt: name, title: name, loading: "lazy", decoding: "async" });
  }

  function tools(album) {
    const real = part("input", { type: "checkbox", checked: keepsPhotos(), onchange: () => keepPhotos(real.checked) });
    const save = button(say("sheet"), () => guarded(() => download(album, real.checked)), { id: "lora_forge_album_sheet" });
    const isOver = !isRunning();
    return part(
      "div.lf-tools",
      {},
      save,
      part("label.lf-field", {}, real, part("span", {}, say("sheet_photos"))),
      album.sheet_language !== kit.language() ? part("span.lf-quiet", {}, say("sheet_english")) : null,
      isOver ? button(say("remove"), remove, { id: "lora_forge_album_remove" }) : null
    );
  }

  function keepsPhotos() {
    try {
      return window.localStorage.getItem(KEPT_SHEET) !== "0";
    } catch (_) {
      return true; // a browser that keeps nothing
    }
  }

  function keepPhotos(isOn) {
    try {
      window.localStorage.setItem(KEPT_SHEET, isOn ? "1" : "0");
    } catch (_) {
      // a browser that keeps nothing
    }
  }

  async function download(album, hasPhotos) {
    const query = { project: test.now().project, id: album.id, photos: hasPhotos ? 1 : 0, language: kit.language() };
    const answer = await fetch(kit.address("album/sheet", query), { credentials: "same-origin", cache: "no-store" });
    if (!answer.ok) throw new kit.Refused(answer.status, await answer.json().catch(() => null));
    const link = part("a", { href: URL.createObjectURL(await answer.blob()), download: `${album.id}.png` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // ------------------------------------------------------------------ large

  function view(first) {
    let index = first;
    let photoAt = 0;
    const { album } = now;
    const title = part("h4");
    const stage = part("div.lf-pair");
    const facts = part("div.lf-ticks.lf-facts-line");
    const prompt = part("p.lf-quiet");
    const others = part("select", { onchange: () => ((photoAt = others.value), draw()) });
    const dialog = part(
      "dialog.lf-dialog.lf-cell-view",
      {},
      part("div.lf-tools", {}, title, button("✕", () => dialog.close(), { title: say("close"), "aria-label": say("close") })),
      part("div.lf-dialog-body", {}, stage, facts, prompt, part("div.lf-tools", {}, others, part("span.lf-quiet", {}, say("keys_hint"))))
    );
    const figure = (src, name) => part("figure", {}, part("img", { src, alt: name }), part("figcaption", {}, name));

    function draw() {
      const one = album.pictures[index];
      title.textContent = one.label;
      prompt.textContent = one.prompt;
      const isWithout = photoAt === "without" && one.without;
      const beside = isWithout
        ? figure(source(one.without, LARGE_PX), say("without_lora"))
        : album.photos.length
          ? figure(photoSource(album.photos[Number(photoAt) || 0], LARGE_PX), say("real_photo", { number: (Number(photoAt) || 0) + 1 }))
          : null;
      put(stage, figure(source(one.path, LARGE_PX), say("with_lora")), beside);
      put(facts, ...ticks(one));
      const made = album.photos.map((_, number) => [String(number), say("real_photo", { number: number + 1 })]);
      if (one.without) made.push(["without", say("without_lora")]);
      put(others, ...made.map(([value, text]) => part("option", { value, selected: value === String(photoAt) }, text)));
    }

    function walk(way) {
      for (let next = index + way; next >= 0 && next < album.pictures.length; next += way) {
        if (!album.pictures[next].path) continue;
        index = next;
        draw();
        return;
      }
    }

    dialog.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
      if (!way || event.target === others) return;
      walk(way);
      event.preventDefault();
    });
    dialog.addEventListener("close", () => dialog.remove());
    draw();
    ($("#lora_forge") || document.body).append(dialog);
    dialog.showModal();
  }

  // ------------------------------------------------------------------ always

  kit.mount("#lora_forge_album .lf-album", build);
  test.on("chosen", () => place && refresh());
  kit.onStep(() => place && kit.step() === "test" && refresh(true));
  setInterval(() => forge.isVisible() && follow(), 300);

  forge.album = { refresh, show };
})();
