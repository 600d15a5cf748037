"use strict";
// The Tags step: the tags of the set, how often each is there, and a person's own words for them.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.tags || forge.tags.set) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { $, button, part, post } = kit;
  const desk = forge.tags;
  const { guarded, named, say, zh } = desk;

  let ui = {};

  function build() {
    ui = { search: part("input", { type: "search", placeholder: say("tag_search"), oninput: kit.debounce(60, draw) }) };
    ui.search.setAttribute("aria-label", say("tag_search"));
    ui.order = part("select", { onchange: draw }, ...["by_count", "by_name", "by_kind"].map((name) => part("option", { value: name }, say(name))));
    ui.ticked = part("span.lf-count");
    ui.grid = new kit.Grid({
      label: `${say("tags_of_set")}. ${say("set_keys")}`,
      isList: true,
      height: 30,
      gap: 2,
      make: rowOf,
      update: updateRow,
      onSelect: () => (ui.ticked.textContent = ui.grid.selected.size ? say("ticked", { count: ui.grid.selected.size }) : ""),
      onTile: (tag) => {
        ui.grid.toggle(tag);
        return true;
      },
      onDelete: () => desk.many.removeTicked(),
      onOpen: (tag) => desk.wall.filterBy(tag),
      onLetter: (event, tag) => {
        const acts = { w: desk.wall.start, t: ownWord };
        if (event.ctrlKey || event.metaKey || !(event.key in acts)) return false;
        acts[event.key](tag);
        return true;
      },
    });
    return part(
      "div.lf-set",
      {},
      part("div.lf-tools", {}, part("b", {}, say("tags_of_set")), ui.ticked),
      part("div.lf-tools", {}, ui.search, ui.order),
      ui.grid.root,
      part("p.lf-quiet", {}, say("set_keys"))
    );
  }

  function draw() {
    if (!desk.book) return;
    const wanted = ui.search.value.trim().toLowerCase();
    const fits = (tag) => !wanted || tag.toLowerCase().includes(wanted) || zh(tag).includes(wanted);
    const byName = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    const byCount = (a, b) => desk.counts.get(b) - desk.counts.get(a) || byName(a, b);
    const kindOf = (tag) => (desk.words[tag] && desk.words[tag].category) || "~";
    const orders = { by_count: byCount, by_name: byName, by_kind: (a, b) => byName(kindOf(a), kindOf(b)) || byCount(a, b) };
    ui.grid.setKeys([...desk.counts.keys()].filter(fits).sort(orders[ui.order.value || "by_count"]));
  }

  function rowOf(tag) {
    const only = part("button.lf-tiny", { type: "button", title: say("only_with"), onclick: () => desk.wall.filterBy(tag) }, "⌕");
    const yes = part("button.lf-tiny", { type: "button", title: say("wall"), onclick: () => desk.wall.start(tag) }, "☑");
    const own = part("button.lf-tiny", { type: "button", title: say("own_word", { tag }), onclick: () => ownWord(tag) }, "译");
    for (const one of [only, yes, own]) one.tabIndex = -1;
    return part("div.lf-row", {}, part("span.lf-name", {}, ...named(tag)), only, yes, own, part("span.lf-number"));
  }

  function updateRow(row, tag) {
    $(".lf-number", row).textContent = desk.counts.get(tag) || 0;
    row.title = zh(tag) ? `${tag} · ${zh(tag)}` : tag;
    row.classList.toggle("lf-locked", tag === desk.book.trigger);
  }

  function ownWord(tag) {
    const dialog = forge.photos.openDialog(say("own_word", { tag }));
    const input = part("input.lf-wide", { value: zh(tag) });
    const keep = () =>
      guarded(async () => {
        await post("tags/word", { tag, zh: input.value.trim() });
        desk.words[tag] = { ...(desk.words[tag] || {}), zh: input.value.trim() };
        dialog.close();
        for (const row of ui.grid.tiles.values()) row.remove();
        ui.grid.tiles.clear();
        desk.draw();
      });
    input.addEventListener("keydown", (event) => event.key === "Enter" && keep());
    dialog.body.append(part("p.lf-quiet", {}, say("own_word_hint")), part("div.lf-tools", {}, input, button(say("keep"), keep)));
    input.focus();
  }

  const ticked = () => [...ui.grid.selected];
  const untick = () => ui.grid.select([]);
  const untickAll = () => ui.grid.selected.clear();

  desk.set = { build, draw, ticked, untick, untickAll };
})();
