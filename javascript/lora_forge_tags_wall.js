"use strict";
// The Tags step: its photos, the filter over them, the yes/no wall, and the step put together of its parts.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.tags || forge.tags.wall) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { $, button, get, part, put } = kit;
  const desk = forge.tags;
  const { edit, guarded, refresh, say, step, tell, zh } = desk;

  let ui = {};
  let found = null; // keys that the filter found, null without one
  let search = null; // the filter's question under way
  let wall = ""; // the tag of the yes/no wall

  // ------------------------------------------------------------------ building

  function build(frame) {
    desk.place = frame;
    desk.line = part("div.lf-told", { hidden: true });
    ui = {};
    ui.undo = button("↶", () => step("undo"), { title: say("undo"), disabled: true });
    ui.redo = button("↷", () => step("redo"), { title: say("redo"), disabled: true });
    ui.filter = part("input.lf-wide", { type: "search", placeholder: say("filter"), title: say("filter_hint"), oninput: findSoon });
    ui.filter.setAttribute("aria-label", say("filter"));
    ui.found = part("span.lf-count");
    desk.grid = new kit.Grid({
      label: say("photos_label"),
      width: 104,
      height: 104,
      gap: 6,
      make: tileOf,
      update: updateTile,
      onSelect: () => desk.caption.draw(),
      onTile: (key) => wall && flip(key),
      onOpen: () => desk.caption.focus(),
    });
    put(
      frame,
      desk.auto.build(),
      kit.choreBar(frame),
      part("div.lf-tools", {}, ui.undo, ui.redo, ui.filter, ui.found, desk.many.fileButtons()),
      part("p.lf-quiet.lf-hint", {}, say("filter_hint")),
      desk.line,
      part("div.lf-desk", {}, desk.set.build(), desk.grid.root, desk.caption.build()),
      desk.many.build(),
      desk.traits.build()
    );
    clear();
    refresh();
  }

  document.addEventListener("keydown", (event) => {
    const isOurs = desk.place && kit.step() === "tags" && forge.isVisible();
    if (!isOurs || !(event.ctrlKey || event.metaKey) || event.target.closest("input, textarea, dialog")) return;
    const key = event.key.toLowerCase();
    if (key === "z") step(event.shiftKey ? "redo" : "undo");
    else if (key === "y") step("redo");
    else return;
    event.preventDefault();
  });

  function clear() {
    if (search) search.abort();
    [found, wall] = [null, ""];
    ui.filter.value = "";
    desk.grid.selected.clear();
  }

  function showSteps(told) {
    for (const name of ["undo", "redo"]) {
      ui[name].disabled = !told[name];
      ui[name].title = told[name] ? say(`${name}_what`, { what: told[name] }) : say(name);
    }
  }

  function draw() {
    desk.grid.setKeys(found ? desk.order.filter((key) => found.has(key)) : desk.order);
    ui.found.textContent = found ? say("found", { count: found.size, total: desk.order.length }) : "";
    desk.caption.draw();
  }

  // ------------------------------------------------------------------ the filter

  const findSoon = kit.debounce(15, find); // an earlier question is given up

  async function find() {
    const query = ui.filter.value.trim();
    if (search) search.abort();
    ui.filter.removeAttribute("aria-invalid");
    if (!query) {
      found = null;
      draw();
      return;
    }
    search = new AbortController();
    await guarded(async () => {
      try {
        const told = await get("tags/find", { project: desk.shownProject, query }, { signal: search.signal });
        found = new Set(told.keys);
        if (desk.line.classList.contains("lf-error")) tell("");
        draw();
      } catch (problem) {
        if (problem.name !== "AbortError") ui.filter.setAttribute("aria-invalid", "true");
        throw problem;
      }
    });
  }

  function findAgain() {
    if (ui.filter.value.trim()) findSoon();
  }

  function showOnly(keys) {
    found = new Set(keys);
    draw();
  }

  function filterBy(tag) {
    ui.filter.value = `"${tag}"`;
    find();
  }

  // ------------------------------------------------------------------ photos

  function tileOf(key) {
    const photo = desk.photos.get(key) || { key, name: key, stamp: "", project: desk.shownProject };
    return part("div", {}, kit.image(photo), part("span.lf-size"));
  }

  function updateTile(tile, key) {
    const caption = desk.book.captions.get(key);
    const has = Boolean(wall) && caption.tags.includes(wall);
    tile.classList.toggle("lf-yes", has);
    tile.classList.toggle("lf-no", Boolean(wall) && !has);
    $(".lf-size", tile).textContent = wall ? (has ? "✓" : "✕") : caption.tags.length || "–";
    tile.title = `${key}\n${caption.tags.join(", ")}`;
  }

  function startWall(tag) {
    wall = tag;
    tell(say("wall_hint", { tag: zh(tag) ? `${tag} (${zh(tag)})` : tag }), "info");
    desk.line.append(" ", button(say("wall_end"), endWall));
    desk.grid.draw();
  }

  function endWall() {
    wall = "";
    tell("");
    desk.grid.draw();
  }

  function flip(key) {
    const tag = wall;
    const kind = desk.book.captions.get(key).tags.includes(tag) ? "remove" : "add";
    edit({ kind, tags: [tag], position: "end" }, [key]).then(() => wall && startWall(wall));
    return true;
  }

  // ------------------------------------------------------------------ going on

  kit.onChore(() => {
    if (desk.place && kit.step() === "tags") refresh();
  });
  kit.onStep((name) => name === "tags" && refresh());
  desk.wall = { clear, draw, filterBy, findAgain, showOnly, showSteps, start: startWall };
  kit.mount("#lora_forge_tags .lf-tags", build);
  setInterval(() => {
    if (!desk.place || kit.step() !== "tags" || !forge.isVisible()) return;
    desk.follow();
  }, 500);
})();
