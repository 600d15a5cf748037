"use strict";
// The live grid: epochs across, strengths down, pictures as they are drawn, and a small map for each score.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.test || forge.test.grid) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { part, put } = kit;
  const test = forge.test;
  const { say } = test;

  // cividis, for any colour vision (Nunez, Anderton and Renslow, 2018)
  const HEAT = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];
  const SIZES = [48, 72, 96, 144, 216];
  const TAKEN_PX = 256; // what a cell's picture is asked for with

  // `variant`: which of a cell's pictures is shown: prompts by seeds.
  const view = { prompt: "plain", seed: 0, size: 96, score: "" };
  let ui = {};
  let drawnFor = "";
  const tiles = new Map();

  function build() {
    ui = { tools: part("div.lf-tools"), grid: part("div.lf-cells", { role: "grid" }), heat: part("div.lf-heats") };
    ui.box = part("div.lf-cells-box", {}, ui.grid);
    ui.grid.addEventListener("click", onClick);
    ui.grid.addEventListener("keydown", onKey);
    ui.heat.addEventListener("click", onClick);
    drawnFor = "";
    return [ui.heat, ui.tools, ui.box];
  }

  const source = (path, side) => kit.address("picture", { path, side });

  // The picture of a cell that is looked at now.
  function pathOf(cell) {
    const told = test.state();
    if (!cell || !told) return null;
    const prompt = Math.max(0, told.prompts.findIndex((one) => one.id === view.prompt));
    return cell.pictures[prompt * told.seeds.length + view.seed] || null;
  }

  const percent = (measure) => (measure && measure.mean !== null && measure.mean !== undefined ? `${Math.round(100 * measure.mean)}` : "");

  function colourOf(score, value) {
    const share = score.is_better_high ? value : 1 - value;
    return HEAT[Math.round(Math.min(1, Math.max(0, share)) * (HEAT.length - 1))];
  }

  const inkOn = (score, value) => ((score.is_better_high ? value : 1 - value) > 0.55 ? "#10202c" : "#fff");

  // ------------------------------------------------------------------ the grid

  function draw() {
    const told = test.state();
    ui.box.hidden = ui.tools.hidden = ui.heat.hidden = !told;
    if (!told) {
      drawnFor = "";
      return;
    }
    const frame = JSON.stringify([told.id, told.epochs, told.strengths, told.prompts.length, told.seeds.length, test.place.dataset.language]);
    if (frame !== drawnFor) {
      drawnFor = frame;
      if (!told.prompts.some((one) => one.id === view.prompt)) view.prompt = told.prompts[0].id;
      if (view.seed >= told.seeds.length) view.seed = 0;
      if (!told.scores.some((one) => one.id === view.score)) view.score = "";
      drawTools(told);
      drawFrame(told);
    }
    for (const [key, tile] of tiles) update(tile, key);
    drawHeat(told);
  }

  function drawTools(told) {
    const tabs = told.prompts.map((one) => tab(say(`view_${one.id}`), () => turn({ prompt: one.id }), one.id === view.prompt, one.prompt));
    const seeds = told.seeds.length > 1 ? told.seeds.map((seed, index) => tab(say("view_seed", { number: index + 1 }), () => turn({ seed: index }), index === view.seed, String(seed))) : [];
    const size = part("input", { type: "range", min: 0, max: SIZES.length - 1, value: SIZES.indexOf(view.size), oninput: () => resize(SIZES[Number(size.value)]) });
    const score = part(
      "select",
      { onchange: () => turn({ score: score.value }) },
      part("option", { value: "" }, say("view_none")),
      ...told.scores.map((one) => part("option", { value: one.id, selected: one.id === view.score }, one.title))
    );
    const picks = told.prompts.length > 1 ? tabs : [];
    put(
      ui.tools,
      picks.length || seeds.length ? part("span.lf-tabs", {}, ...picks, ...seeds) : null,
      part("label.lf-field", {}, part("span", {}, say("view_size")), size),
      part("label.lf-field", {}, part("span", {}, say("view_score")), score),
      ...["grid", "heat"].map((what) => part("a.lf-button", { href: exported(what), download: "", data: { export: what } }, say(`export_${what}`)))
    );
  }

  const exported = (what) => kit.address("test/export", { project: kit.project(), id: test.state().id, what, prompt: view.prompt, language: kit.language() });

  function tab(text, onclick, isChosen, title) {
    const made = part("button.lf-tab", { type: "button", onclick, title }, text);
    made.setAttribute("aria-selected", String(isChosen));
    return made;
  }

  function turn(change) {
    Object.assign(view, change);
    drawnFor = "";
    draw();
  }

  function resize(size) {
    view.size = size;
    ui.grid.style.setProperty("--lf-cell", `${size}px`);
  }

  function drawFrame(told) {
    tiles.clear();
    resize(view.size);
    ui.grid.style.setProperty("--lf-columns", told.epochs.length);
    ui.grid.style.setProperty("--lf-shape", `${told.request.width || 1} / ${told.request.height || 1}`);
    const heads = told.epochs.map((epoch) => part("span.lf-cell-head", { role: "columnheader" }, String(epoch)));
    const rows = [...told.strengths].filter((one) => one > 0).sort((one, other) => one - other);
    const made = [part("span.lf-cell-head", {}, ""), ...heads];
    const base = tile(0, 0);
    made.push(part("span.lf-cell-head.lf-cell-side", {}, "0"), base, part("span.lf-cell-base", { style: "grid-column: 3 / -1" }, say("baseline")));
    for (const strength of rows) {
      made.push(part("span.lf-cell-head.lf-cell-side", { role: "rowheader" }, String(strength)));
      made.push(...told.epochs.map((epoch) => tile(epoch, strength)));
    }
    if (told.epochs.length < 2) made.splice(heads.length + 3, 1);
    put(ui.grid, ...made);
  }

  function tile(epoch, strength) {
    const key = test.keyOf(epoch, strength);
    const made = part("button.lf-cell", { type: "button", data: { cell: key } }, part("img", { alt: "", loading: "lazy" }), part("b.lf-cell-score"));
    tiles.set(key, made);
    return made;
  }

  function update(tile, key) {
    const told = test.state();
    const [epoch, strength] = key.split(":").map(Number);
    const cell = test.cell(epoch, strength);
    const path = pathOf(cell);
    const image = tile.firstChild;
    const wanted = path ? source(path, TAKEN_PX) : "";
    if ((image.getAttribute("src") || "") !== wanted) {
      if (wanted) image.src = wanted;
      else image.removeAttribute("src");
    }
    tile.disabled = !path;
    tile.classList.toggle("lf-cell-empty", !path);
    const score = told.scores.find((one) => one.id === view.score);
    const measure = score && cell && cell.scores ? cell.scores[score.id] : null;
    const number = tile.lastChild;
    number.textContent = measure ? percent(measure) : "";
    if (measure) Object.assign(number.style, { background: colourOf(score, measure.mean), color: inkOn(score, measure.mean) });
    mark(tile, key);
    tile.title = strength ? say("cell", { epoch, strength }) : say("baseline");
    tile.setAttribute("aria-label", tile.title);
  }

  function mark(place, key) {
    const best = (test.state() || {}).recommendation;
    const { epoch, strength } = test.now();
    place.classList.toggle("lf-cell-best", Boolean(best) && best.strength > 0 && test.keyOf(best.epoch, best.strength) === key);
    place.classList.toggle("lf-cell-chosen", epoch !== null && strength > 0 && test.keyOf(epoch, strength) === key);
  }

  // ------------------------------------------------------------------ the maps

  function drawHeat(told) {
    const scored = told.scores.filter((one) => [...tiles.keys()].some((key) => measureAt(key, one.id)));
    put(ui.heat, scored.length ? part("h4", {}, say("heat_title")) : null, part("div.lf-heat-row", {}, ...scored.map((one) => mapOf(told, one))));
  }

  function measureAt(key, score) {
    const [epoch, strength] = key.split(":").map(Number);
    const cell = test.cell(epoch, strength);
    return cell && cell.scores ? cell.scores[score] : null;
  }

  function mapOf(told, score) {
    const rows = [...told.strengths].filter((one) => one > 0).sort((one, other) => one - other);
    const map = part("div.lf-heat", { style: `--lf-columns: ${told.epochs.length}` });
    const base = measureAt("0:0", score.id);
    map.append(part("span.lf-heat-side", {}, "0"), spot("0:0", score, base));
    if (told.epochs.length > 1) map.append(part("span", { style: "grid-column: 3 / -1" }));
    for (const strength of rows) {
      map.append(part("span.lf-heat-side", {}, String(strength)));
      for (const epoch of told.epochs) {
        const key = test.keyOf(epoch, strength);
        map.append(spot(key, score, measureAt(key, score.id)));
      }
    }
    map.append(part("span"), ...told.epochs.map((epoch) => part("span.lf-heat-foot", {}, String(epoch))));
    const title = part("figcaption", { title: score.sentence }, part("b", {}, score.title), ` ${score.unit}`);
    return part("figure.lf-heat-figure", { data: { score: score.id } }, title, map);
  }

  function spot(key, score, measure) {
    const [epoch, strength] = key.split(":").map(Number);
    const value = percent(measure);
    const text = strength ? say("heat_cell", { epoch, strength, value: value || "–" }) : `${say("baseline")}: ${value || "–"}`;
    const made = part("button.lf-spot", { type: "button", title: text, disabled: !measure, data: { cell: key } }, value);
    if (measure) Object.assign(made.style, { background: colourOf(score, measure.mean), color: inkOn(score, measure.mean) });
    mark(made, key);
    return made;
  }

  // ------------------------------------------------------------------ by hand

  function onClick(event) {
    const tile = event.target.closest("[data-cell]");
    if (tile && !tile.disabled) test.view(...tile.dataset.cell.split(":").map(Number));
  }

  function onKey(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const tile = event.target.closest("[data-cell]");
    if (!way || !tile) return;
    const next = tiles.get(test.beside(tile.dataset.cell, ...way));
    if (next) next.focus();
    event.preventDefault();
  }

  // The cell so many columns and rows away.
  test.beside = (key, columns, rows) => {
    const told = test.state();
    if (!told) return key; // another project's come
    const [epoch, strength] = key.split(":").map(Number);
    const down = [0, ...told.strengths.filter((one) => one > 0).sort((one, other) => one - other)];
    const column = Math.max(0, told.epochs.indexOf(epoch)) + (strength ? columns : 0);
    const row = down.indexOf(strength) + rows;
    if (!(column in told.epochs) || !(row in down)) return key;
    return test.keyOf(told.epochs[column], down[row]);
  };

  test.grid = { build, draw, pathOf, source, view, turn };
  test.on("state", () => test.place && draw());
  test.on("chosen", () => test.place && test.state() && draw());
})();
