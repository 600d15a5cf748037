"use strict";
// The Photos step: the wall of photos, what is done with those chosen on it, and the step put together of its parts.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.photos || forge.photos.wall) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { $, button, part, post, put } = kit;
  const desk = forge.photos;
  const { changed, guarded, openDialog, refresh, restore, say, trash } = desk;

  let ui = {};
  let group = null; // whose photos are shown; null for all
  let only = null; // keys a finding names; null for no filter

  // drawn: not every system's fonts have one
  const BIN =
    '<svg viewBox="0 0 16 16" width="14" height="14" fill="none" stroke="currentColor" stroke-width="1.5"><path d="M2 4h12M6 4V2h4v2M4 4l1 10h6l1-10M7 7v4M9 7v4"/></svg>';

  // ------------------------------------------------------------------ building

  function build(frame) {
    desk.place = frame;
    desk.line = part("div.lf-told", { hidden: true });
    const grid = new kit.Grid({
      most: 416,
      label: say("photos_label"),
      make: tileOf,
      update: updateTile,
      onSelect: drawTools,
      onOpen: (key) => desk.viewer.open(key),
      onDelete: () => trash(grid.chosen()),
    });
    desk.grid = grid;
    ui = { groups: part("div.lf-tabs", { role: "tablist" }), tools: part("div.lf-tools") };
    put(
      frame,
      ...desk.bring.build(),
      desk.line,
      ui.groups,
      ui.tools,
      grid.root,
      kit.choreBar(frame),
      desk.checkup.build(),
      desk.prepare.build()
    );
    buildTools();
    desk.checkup.drawModels();
    refresh();
  }

  function buildTools() {
    ui.count = part("span.lf-count");
    ui.all = button(say("select_all"), () => desk.grid.select(desk.grid.keys));
    ui.delete = button(say("delete"), () => trash(desk.grid.chosen()), { title: say("delete_hint") });
    ui.empty = button(say("delete_all"), () => trash(desk.grid.keys));
    ui.restore = button(say("restore"), () => restore(null), { title: say("restore_hint") });
    ui.trash = button("", showTrash);
    ui.repeats = part("input", { type: "number", min: 1, step: 1, onchange: setRepeats, placeholder: say("automatic") });
    ui.repeatsLabel = part("label.lf-field", { title: say("repeats_hint") }, part("span", {}, say("repeats")), ui.repeats);
    ui.unfilter = button(say("show_all"), () => show(null), { hidden: true });
    put(ui.tools, ui.count, ui.unfilter, ui.all, ui.delete, ui.empty, ui.restore, ui.trash, ui.repeatsLabel);
  }

  // ------------------------------------------------------------------ what is shown

  function clear() {
    [group, only] = [null, null];
    desk.grid.selected.clear();
  }

  function draw() {
    if (!desk.told) return; // they are on their way
    drawGroups();
    drawWall();
  }

  function drawGroups() {
    const several = desk.told.groups.length > 1;
    ui.groups.hidden = !several;
    if (group !== null && !desk.told.groups.some((one) => one.name === group)) group = null;
    const tab = (name, text) =>
      part("button.lf-tab", {
        type: "button",
        role: "tab",
        "aria-selected": String(group === name),
        onclick: () => {
          [group, only] = [name, null];
          draw();
        },
      }, text);
    const originals = (name) => (name === "photos" ? say("originals") : name);
    const named = (one) => (one.is_faces ? say("faces") : one.is_prior ? `${one.name} (${say("prior")})` : originals(one.name));
    put(ui.groups,
      tab(null, `${say("all")} ${desk.told.photos.length}`),
      ...desk.told.groups.map((one) => tab(one.name, `${named(one)} ${one.count}`))
    );
  }

  function drawWall() {
    const keys = desk.told.photos.filter((photo) => (group === null || photo.group === group) && (!only || only.has(photo.key)));
    desk.grid.setKeys(keys.map((photo) => photo.key));
    desk.grid.root.hidden = !desk.told.photos.length;
  }

  function drawTools() {
    if (!desk.told) return;
    const [count, chosen] = [desk.grid.keys.length, desk.grid.selected.size];
    ui.tools.hidden = !desk.told.photos.length && !desk.told.trash.length;
    ui.count.textContent = chosen ? say("chosen", { chosen, count }) : say("count", { count });
    ui.unfilter.hidden = !only;
    ui.delete.disabled = !chosen;
    ui.all.hidden = ui.empty.hidden = !count;
    ui.empty.textContent = say(only || group !== null ? "delete_shown" : "delete_all", { count });
    ui.restore.hidden = ui.trash.hidden = !desk.told.trash.length;
    ui.trash.textContent = say("trash", { count: desk.told.trash.length });
    const one = desk.told.groups.find((known) => known.name === (group ?? (desk.told.groups.length === 1 ? desk.told.groups[0].name : null)));
    ui.repeatsLabel.hidden = !one;
    if (one && document.activeElement !== ui.repeats) ui.repeats.value = one.repeats ?? "";
    ui.repeats.dataset.group = one ? one.name : "";
  }

  function tileOf(key) {
    const photo = desk.byKey.get(key);
    const bin = part("button.lf-bin", { type: "button", title: say("delete_one"), onclick: () => trash([key]) });
    bin.innerHTML = BIN;
    bin.setAttribute("aria-label", `${say("delete_one")}: ${photo.name}`);
    bin.tabIndex = -1; // the keyboard's way is Delete
    return part("div", { title: photo.key }, kit.image(photo), part("span.lf-lights"), part("span.lf-size"), bin);
  }

  function updateTile(tile, key) {
    const photo = desk.byKey.get(key);
    const source = kit.thumb(photo);
    const img = $("img", tile);
    if (img.getAttribute("src") !== source) img.src = source;
    $(".lf-size", tile).textContent = photo.problem ? "⚠" : photo.width ? `${photo.width}×${photo.height}` : "";
    $(".lf-size", tile).title = photo.problem || "";
    tile.classList.toggle("lf-broken", Boolean(photo.problem));
    const lights = desk.checkup.lightsOf(key);
    put($(".lf-lights", tile),
      ...lights.map((finding) => part(`i.lf-light.lf-${finding.light}`, { title: finding.title })),
      photo.crop ? part("i.lf-mark", { title: say("has_crop") }, "✂") : null
    );
  }

  function show(keys) {
    only = keys ? new Set(keys) : null;
    group = null;
    draw();
    if (keys) {
      desk.grid.select([]);
      desk.grid.root.scrollIntoView({ block: "nearest" });
    }
  }

  // What is shown next is all again; nothing is drawn yet.
  function unfilter() {
    only = null;
  }

  // ------------------------------------------------------------------ the trash, the groups' repeats

  function showTrash() {
    const dialog = openDialog(say("trash", { count: desk.told.trash.length }));
    const tiles = desk.told.trash.map((one) => {
      const source = kit.address("thumb", { project: desk.shownProject, trash: one.number, v: one.stamp });
      const back = button(say("restore_one"), async () => {
        await restore([one.number]);
        tile.remove();
        if (!desk.told.trash.length) dialog.close();
      });
      const tile = part("div.lf-card", {}, part("img", { src: source, alt: one.key, loading: "lazy" }), part("small", {}, one.key), back);
      return tile;
    });
    const all = button(say("restore_all"), async () => {
      await restore(desk.told.trash.map((one) => one.number));
      dialog.close();
    });
    dialog.body.append(all, part("div.lf-cards", {}, ...tiles));
  }

  async function setRepeats() {
    const repeats = Math.round(Number(ui.repeats.value)) || null;
    await guarded(async () => {
      await post("photos/group", { project: desk.shownProject, name: ui.repeats.dataset.group, repeats });
      await refresh();
      changed();
    });
  }

  // ------------------------------------------------------------------ going on

  kit.onChore(() => {
    if (!desk.place) return;
    refresh().then(changed);
    desk.checkup.drawModels();
  });
  kit.onStep((name) => name === "photos" && refresh());
  desk.wall = { clear, draw, show, unfilter };
  kit.mount("#lora_forge_photos .lf-photos", build);
  setInterval(() => {
    if (!desk.place || kit.step() !== "photos" || !forge.isVisible()) return;
    desk.prepare.follow();
    desk.follow();
  }, 500);
})();
