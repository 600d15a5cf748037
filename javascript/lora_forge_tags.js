"use strict";
// The Tags step: the tags of the set, the photos, the caption of the chosen ones, and what acts on many at once.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.kit || forge.tags) return;
  const kit = forge.kit;
  const { $, button, get, guarded, part, post, project, put, tell } = kit;
  const CLIENT = Math.random().toString(36).slice(2);

  let place = null;
  let ui = {};
  let book = null; // {revision, trigger, limit, captions: Map key -> {tags, tokens, text}}
  let photos = new Map(); // by key, for thumbnails
  let words = {}; // {zh, category} by tag
  let counts = new Map(); // photos by tag
  let order = []; // keys of all photos
  let found = null; // keys that the filter found, null without one
  let wall = ""; // the tag of the yes/no wall
  let copied = null;
  let shownProject = null;
  let queue = Promise.resolve(); // edits go one after the other, each on what the last one left

  const say = (key, values) => kit.say(place, key, values);

  // ------------------------------------------------------------------ building

  function build(frame) {
    place = frame;
    ui = { line: part("div.lf-told", { hidden: true }) };
    ui.undo = button("↶", () => step("undo"), { title: say("undo"), disabled: true });
    ui.redo = button("↷", () => step("redo"), { title: say("redo"), disabled: true });
    ui.filter = part("input.lf-wide", { type: "search", placeholder: say("filter"), title: say("filter_hint"), oninput: findSoon });
    ui.filter.setAttribute("aria-label", say("filter"));
    ui.found = part("span.lf-count");
    ui.grid = new kit.Grid({
      label: say("photos_label"),
      width: 104,
      height: 104,
      gap: 6,
      make: tileOf,
      update: updateTile,
      onSelect: drawCaption,
      onTile: (key) => wall && flip(key),
      onOpen: () => $("input", ui.entry).focus(),
    });
    put(frame, 
      autoPart(),
      (ui.chore = kit.choreBar(place)),
      part("div.lf-tools", {}, ui.undo, ui.redo, ui.filter, ui.found, fileButtons()),
      part("p.lf-quiet.lf-hint", {}, say("filter_hint")),
      ui.line,
      part("div.lf-desk", {}, setPart(), ui.grid.root, captionPart()),
      actsPart(),
      (ui.traits = part("section.lf-part"))
    );
    shownProject = null;
    refresh();
  }

  document.addEventListener("keydown", (event) => {
    const isOurs = place && kit.step() === "tags" && forge.isVisible();
    if (!isOurs || !(event.ctrlKey || event.metaKey) || event.target.closest("input, textarea, dialog")) return;
    const key = event.key.toLowerCase();
    if (key === "z") step(event.shiftKey ? "redo" : "undo");
    else if (key === "y") step("redo");
    else return;
    event.preventDefault();
  });

  // ------------------------------------------------------------------ what is there

  async function refresh() {
    if (!place) return;
    const name = project();
    if (name !== shownProject) {
      shownProject = name;
      [found, wall] = [null, ""];
      ui.filter.value = "";
      ui.grid.selected.clear();
      ui.set.selected.clear();
      tell(ui.line, "");
    }
    if (!name) return takeBook({ photos: [], words: {}, revision: 0, trigger_word: "", limit: 75 }, []);
    try {
      const [told, shown] = await Promise.all([get("tags", { project: name }), get("photos", { project: name })]);
      if (name === project()) takeBook(told, shown.photos);
    } catch (problem) {
      takeBook({ photos: [], words: {}, revision: 0, trigger_word: "", limit: 75 }, []);
      if (problem.status !== 400 && problem.status !== 404) tell(ui.line, problem.message, "error");
      return;
    }
    foldAuto();
    drawTraits();
    drawAuto();
  }

  function takeBook(told, shown) {
    photos = new Map(shown.map((photo) => [photo.key, { ...photo, project: shownProject }]));
    const captions = new Map(told.photos.map((one) => [one.key, one]));
    book = { revision: told.revision, trigger: told.trigger_word, limit: told.limit, captions };
    words = told.words || {};
    order = told.photos.map((one) => one.key);
    takeSteps(told);
    for (const problem of told.problems || []) tell(ui.line, problem.what, "warning");
    recount();
    drawAll();
  }

  function takeSteps(told) {
    for (const name of ["undo", "redo"]) {
      ui[name].disabled = !told[name];
      ui[name].title = told[name] ? say(`${name}_what`, { what: told[name] }) : say(name);
    }
  }

  function takeChange(told) {
    book.revision = told.revision;
    let isNew = Boolean(told.gone && told.gone.length);
    for (const [key, caption] of Object.entries(told.changed || {})) {
      if (!book.captions.has(key)) isNew = true;
      else if (caption) book.captions.set(key, { ...caption, key });
    }
    Object.assign(words, told.words || {});
    if ("undo" in told) takeSteps(told);
    recount();
    drawAll();
    if (isNew) refresh();
    if (ui.filter.value.trim()) findSoon();
  }

  function recount() {
    counts = new Map();
    for (const { tags } of book.captions.values()) for (const tag of new Set(tags)) counts.set(tag, (counts.get(tag) || 0) + 1);
  }

  function drawAll() {
    drawSet();
    drawPhotos();
  }

  function drawPhotos() {
    ui.grid.setKeys(found ? order.filter((key) => found.has(key)) : order);
    ui.found.textContent = found ? say("found", { count: found.size, total: order.length }) : "";
    drawCaption();
  }

  const zh = (tag) => (words[tag] && words[tag].zh) || "";

  // What a person reads first is in their language; the tag itself stays beside it.
  function named(tag) {
    const other = place.dataset.language === "zh" ? zh(tag) : "";
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
      tell(ui.line, say("scope_empty"), "warning");
      return;
    }
    await answered(() => post("tags/edit", { project: project(), base: book.revision, operation, keys, client: CLIENT }));
  }

  async function answered(act) {
    try {
      const told = await act();
      takeChange(told);
      const left = (told.left_out || []).filter(Boolean);
      const did = say("did", { label: told.label || "", count: Object.keys(told.changed || {}).length });
      tell(ui.line, [did, ...left].join(" "), left.length ? "warning" : "info");
    } catch (problem) {
      if (problem.told && problem.told.conflict) {
        takeChange(problem.told);
        tell(ui.line, say("conflict"), "warning");
      } else {
        tell(ui.line, problem.message, "error");
      }
    }
  }

  function step(name) {
    queue = queue.then(() => answered(() => post(`tags/${name}`, { project: project(), base: book.revision }))).catch(() => {});
    return queue;
  }

  // Edits of other windows and of other programs.
  let lookedAt = 0;
  async function lookForChanges() {
    if (!place || !book || !shownProject || kit.step() !== "tags" || !forge.isVisible() || Date.now() - lookedAt < 3000) return;
    lookedAt = Date.now();
    await (queue = queue.then(async () => {
      const told = await get("tags/changes", { project: project(), since: book.revision });
      if (told.revision !== book.revision) takeChange(told);
    }).catch(() => {}));
  }

  // ------------------------------------------------------------------ the filter

  let search = null;
  const findSoon = kit.debounce(15, find); // an earlier question is given up

  async function find() {
    const query = ui.filter.value.trim();
    if (search) search.abort();
    ui.filter.removeAttribute("aria-invalid");
    if (!query) {
      found = null;
      drawPhotos();
      return;
    }
    search = new AbortController();
    await guarded(ui.line, async () => {
      try {
        const told = await get("tags/find", { project: project(), query }, { signal: search.signal });
        found = new Set(told.keys);
        if (ui.line.classList.contains("lf-error")) tell(ui.line, "");
        drawPhotos();
      } catch (problem) {
        if (problem.name !== "AbortError") ui.filter.setAttribute("aria-invalid", "true");
        throw problem;
      }
    });
  }

  function filterBy(tag) {
    ui.filter.value = `"${tag}"`;
    find();
  }

  // ------------------------------------------------------------------ tags of the set

  function setPart() {
    ui.search = part("input", { type: "search", placeholder: say("tag_search"), oninput: kit.debounce(60, drawSet) });
    ui.search.setAttribute("aria-label", say("tag_search"));
    ui.order = part("select", { onchange: drawSet }, ...["by_count", "by_name", "by_kind"].map((name) => part("option", { value: name }, say(name))));
    ui.ticked = part("span.lf-count");
    ui.set = new kit.Grid({
      label: `${say("tags_of_set")}. ${say("set_keys")}`,
      isList: true,
      height: 30,
      gap: 2,
      make: rowOf,
      update: updateRow,
      onSelect: () => (ui.ticked.textContent = ui.set.selected.size ? say("ticked", { count: ui.set.selected.size }) : ""),
      onTile: (tag) => {
        ui.set.toggle(tag);
        return true;
      },
      onDelete: () => removeTicked(),
      onOpen: filterBy,
      onLetter: (event, tag) => {
        const acts = { w: startWall, t: ownWord };
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
      ui.set.root,
      part("p.lf-quiet", {}, say("set_keys"))
    );
  }

  function drawSet() {
    if (!book) return;
    const wanted = ui.search.value.trim().toLowerCase();
    const fits = (tag) => !wanted || tag.toLowerCase().includes(wanted) || zh(tag).includes(wanted);
    const byName = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    const byCount = (a, b) => counts.get(b) - counts.get(a) || byName(a, b);
    const kindOf = (tag) => (words[tag] && words[tag].category) || "~";
    const orders = { by_count: byCount, by_name: byName, by_kind: (a, b) => byName(kindOf(a), kindOf(b)) || byCount(a, b) };
    ui.set.setKeys([...counts.keys()].filter(fits).sort(orders[ui.order.value || "by_count"]));
  }

  function rowOf(tag) {
    const only = part("button.lf-tiny", { type: "button", title: say("only_with"), onclick: () => filterBy(tag) }, "⌕");
    const yes = part("button.lf-tiny", { type: "button", title: say("wall"), onclick: () => startWall(tag) }, "☑");
    const own = part("button.lf-tiny", { type: "button", title: say("own_word", { tag }), onclick: () => ownWord(tag) }, "译");
    for (const one of [only, yes, own]) one.tabIndex = -1;
    return part("div.lf-row", {}, part("span.lf-name", {}, ...named(tag)), only, yes, own, part("span.lf-number"));
  }

  function updateRow(row, tag) {
    $(".lf-number", row).textContent = counts.get(tag) || 0;
    row.title = zh(tag) ? `${tag} · ${zh(tag)}` : tag;
    row.classList.toggle("lf-locked", tag === book.trigger);
  }

  function ownWord(tag) {
    const dialog = forge.photos.openDialog(say("own_word", { tag }));
    const input = part("input.lf-wide", { value: zh(tag) });
    const keep = () =>
      guarded(ui.line, async () => {
        await post("tags/word", { tag, zh: input.value.trim() });
        words[tag] = { ...(words[tag] || {}), zh: input.value.trim() };
        dialog.close();
        for (const row of ui.set.tiles.values()) row.remove();
        ui.set.tiles.clear();
        drawAll();
      });
    input.addEventListener("keydown", (event) => event.key === "Enter" && keep());
    dialog.body.append(part("p.lf-quiet", {}, say("own_word_hint")), part("div.lf-tools", {}, input, button(say("keep"), keep)));
    input.focus();
  }

  // ------------------------------------------------------------------ photos

  function tileOf(key) {
    const photo = photos.get(key) || { key, name: key, stamp: "", project: shownProject };
    return part("div", {}, kit.image(photo), part("span.lf-size"));
  }

  function updateTile(tile, key) {
    const caption = book.captions.get(key);
    const has = Boolean(wall) && caption.tags.includes(wall);
    tile.classList.toggle("lf-yes", has);
    tile.classList.toggle("lf-no", Boolean(wall) && !has);
    $(".lf-size", tile).textContent = wall ? (has ? "✓" : "✕") : caption.tags.length || "–";
    tile.title = `${key}\n${caption.tags.join(", ")}`;
  }

  function startWall(tag) {
    wall = tag;
    tell(ui.line, say("wall_hint", { tag: zh(tag) ? `${tag} (${zh(tag)})` : tag }), "info");
    ui.line.append(" ", button(say("wall_end"), endWall));
    ui.grid.draw();
  }

  function endWall() {
    wall = "";
    tell(ui.line, "");
    ui.grid.draw();
  }

  function flip(key) {
    const tag = wall;
    const kind = book.captions.get(key).tags.includes(tag) ? "remove" : "add";
    edit({ kind, tags: [tag], position: "end" }, [key]).then(() => wall && startWall(wall));
    return true;
  }

  // ------------------------------------------------------------------ the caption of the chosen photos

  function captionPart() {
    ui.picture = part("img.lf-large", { alt: "", hidden: true });
    ui.chips = part("div.lf-chips", { role: "list" });
    ui.tokens = part("span.lf-count");
    ui.entry = suggesting(say("tag_entry"), (tags) => edit({ kind: "add", tags, position: "end" }, ui.grid.chosen()));
    ui.text = part("textarea", { rows: 4, hidden: true });
    ui.asText = button(say("as_text"), showText);
    ui.keepText = button(say("keep_text"), keepText, { hidden: true });
    const paste = part("select", {}, ...["replace", "append", "prepend"].map((name) => part("option", { value: name }, say(`paste_${name}`))));
    return part(
      "div.lf-caption",
      {},
      ui.picture,
      part("div.lf-tools", {}, (ui.captionTitle = part("b", {}, say("caption"))), ui.tokens),
      ui.chips,
      ui.entry,
      ui.text,
      part(
        "div.lf-tools",
        {},
        ui.asText,
        ui.keepText,
        button(say("copy"), copyTags),
        button(say("paste"), () => {
          if (!copied) return tell(ui.line, say("nothing_copied"), "warning");
          edit({ kind: "paste", tags: copied, mode: paste.value }, ui.grid.chosen());
        }),
        paste
      )
    );
  }

  function drawCaption() {
    if (!book) return;
    const keys = ui.grid.chosen();
    const [first] = keys;
    const photo = keys.length === 1 ? photos.get(first) : null;
    ui.picture.hidden = !photo;
    if (photo) {
      const source = kit.picture(photo, 384);
      if (ui.picture.getAttribute("src") !== source) ui.picture.src = source;
    }
    const isNone = !keys.length;
    ui.captionTitle.textContent = isNone ? say(order.length ? "no_photo" : "no_photos") : keys.length > 1 ? say("several", { count: keys.length }) : first;
    ui.entry.hidden = isNone;
    ui.asText.hidden = keys.length !== 1;
    if (keys.length !== 1 || ui.text.dataset.key !== first) closeText();
    drawTokens(keys);
    drawChips(keys);
    previewSoon();
  }

  function drawTokens(keys) {
    ui.tokens.textContent = "";
    ui.tokens.classList.remove("lf-over-limit");
    if (keys.length !== 1) return;
    const { tokens } = book.captions.get(keys[0]);
    const isOver = tokens > book.limit;
    ui.tokens.textContent = say("tokens", { tokens, limit: book.limit });
    ui.tokens.title = isOver ? say("too_long", { limit: book.limit }) : "";
    ui.tokens.classList.toggle("lf-over-limit", isOver);
  }

  function drawChips(keys) {
    const held = new Map();
    for (const key of keys) for (const tag of new Set(book.captions.get(key).tags)) held.set(tag, (held.get(tag) || 0) + 1);
    put(ui.chips, 
      ...[...held].map(([tag, count], index) => chipOf(tag, index, count < keys.length ? count : 0, keys))
    );
  }

  function chipOf(tag, index, someOf, keys) {
    const isLocked = tag === book.trigger;
    const chip = part("span.lf-chip", { role: "listitem", title: isLocked ? say("locked") : say("drag_hint"), draggable: !isLocked && keys.length === 1, data: { tag } }, ...named(tag));
    if (zh(tag) && place.dataset.language !== "zh") chip.title = `${zh(tag)}\n${chip.title}`;
    chip.classList.toggle("lf-some", Boolean(someOf));
    chip.classList.toggle("lf-locked", isLocked);
    if (someOf) chip.append(part("small", {}, ` ${someOf}/${keys.length}`));
    if (isLocked) return chip;
    chip.tabIndex = 0;
    chip.addEventListener("keydown", (event) => {
      if (event.target !== chip) return;
      const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const chips = [...ui.chips.children];
      if (way && event.altKey && keys.length === 1) edit({ kind: "move", tag, to: index + way }, keys).then(() => focusChip(tag));
      else if (way) (chips[index + way] || chip).focus();
      else if (event.key === "Delete") edit({ kind: "remove", tags: [tag] }, keys).then(() => focusChip(null, index));
      else if (event.key === "Enter") editChip(chip, tag, keys);
      else return;
      event.preventDefault();
    });
    const remove = part("button.lf-x", { type: "button", onclick: () => edit({ kind: "remove", tags: [tag] }, keys) }, "×");
    remove.setAttribute("aria-label", say("remove_tag", { tag }));
    chip.append(remove);
    chip.addEventListener("dblclick", () => editChip(chip, tag, keys));
    chip.addEventListener("dragstart", (event) => event.dataTransfer.setData("text/x-lora-forge-tag", tag));
    chip.addEventListener("dragover", (event) => event.preventDefault());
    chip.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      const moved = event.dataTransfer.getData("text/x-lora-forge-tag");
      if (moved && moved !== tag) edit({ kind: "move", tag: moved, to: index }, keys);
    });
    return chip;
  }

  function focusChip(tag, index) {
    const chips = [...ui.chips.children];
    const found = tag === null ? chips[Math.min(index, chips.length - 1)] : chips.find((one) => one.dataset.tag === tag);
    if (found) found.focus();
  }

  function editChip(chip, tag, keys) {
    const input = part("input", { value: tag });
    let isOver = false;
    const end = (keeps) => {
      if (isOver) return;
      isOver = true;
      const to = input.value.trim();
      if (keeps && to && to !== tag) edit({ kind: "replace", find: tag, to, mode: "tag" }, keys);
      else drawCaption();
    };
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") end(true);
      if (event.key === "Escape") end(false);
      event.stopPropagation();
    });
    input.addEventListener("blur", () => end(true));
    put(chip, input);
    input.select();
  }

  function showText() {
    const [key] = ui.grid.chosen();
    const caption = book.captions.get(key);
    ui.text.value = caption.text ?? caption.tags.join(", ");
    ui.text.dataset.key = key;
    ui.text.hidden = ui.keepText.hidden = false;
    ui.text.focus();
  }

  function closeText() {
    ui.text.hidden = ui.keepText.hidden = true;
    ui.text.dataset.key = "";
  }

  async function keepText() {
    const key = ui.text.dataset.key;
    await edit({ kind: "set", text: ui.text.value, tags: ui.text.value.split(/[,，]/).map((tag) => tag.trim()).filter(Boolean) }, [key]);
    closeText();
  }

  function copyTags() {
    const keys = ui.grid.chosen();
    if (!keys.length) return tell(ui.line, say("scope_empty"), "warning");
    copied = book.captions.get(keys[0]).tags.filter((tag) => tag !== book.trigger);
    tell(ui.line, say("copied", { count: copied.length }), "info");
  }

  // ------------------------------------------------------------------ a field that knows the dictionary

  function suggesting(label, take) {
    const input = part("input.lf-wide", { placeholder: label, autocomplete: "off", role: "combobox", "aria-expanded": "false" });
    input.setAttribute("aria-label", label);
    const list = part("ul.lf-suggestions", { hidden: true, role: "listbox" });
    const box = part("div.lf-suggesting", {}, input, list);
    let shown = [];
    let at = -1;
    let asking = null;
    const close = () => {
      list.hidden = true;
      at = -1;
      input.setAttribute("aria-expanded", "false");
    };
    const mark = () => [...list.children].forEach((row, index) => row.setAttribute("aria-selected", String(index === at)));
    const pick = (tags) => {
      input.value = "";
      close();
      take(tags);
    };
    const last = () => input.value.split(/[,，]/).pop().trim();
    const ask = kit.debounce(50, async () => {
      const text = last();
      if (asking) asking.abort();
      if (!text) return close();
      asking = new AbortController();
      try {
        const told = await get("tags/suggest", { project: project(), text, limit: 12 }, { signal: asking.signal });
        if (text !== last()) return;
        shown = told.suggestions;
      } catch (_) {
        return;
      }
      for (const one of shown) words[one.tag] = { zh: one.zh, category: one.category };
      at = -1;
      put(list, 
        ...shown.map((one) =>
          part(
            "li",
            { role: "option", onmousedown: (event) => (event.preventDefault(), pick([one.tag])) },
            part("span", {}, one.tag),
            part("small", {}, [one.zh, one.count ? `×${one.count}` : ""].filter(Boolean).join("  "))
          )
        )
      );
      list.hidden = !shown.length;
      input.setAttribute("aria-expanded", String(Boolean(shown.length)));
    });
    input.addEventListener("input", ask);
    input.addEventListener("blur", close);
    input.addEventListener("keydown", (event) => {
      if (event.isComposing) return; // a Chinese input method uses Enter itself
      const ways = { ArrowDown: 1, ArrowUp: -1 };
      if (event.key in ways && shown.length && !list.hidden) at = (at + ways[event.key] + shown.length) % shown.length;
      else if (event.key === "Enter" && at >= 0 && !list.hidden) pick([shown[at].tag]);
      else if (event.key === "Enter") {
        const tags = input.value.split(/[,，]/).map((tag) => tag.trim()).filter(Boolean);
        if (!tags.length) return;
        pick(tags.map(english));
      } else if (event.key === "Escape" && !list.hidden) close();
      else return;
      mark();
      event.preventDefault();
      event.stopPropagation();
    });
    // 粉色衬衫 typed in full is "pink shirt", when the dictionary knows it
    const english = (text) => {
      const known = shown.find((one) => one.zh === text || one.tag === text);
      return known ? known.tag : text;
    };
    box.value = () => input.value.trim();
    box.tags = () => input.value.split(/[,，]/).map((tag) => english(tag.trim())).filter(Boolean);
    box.clear = () => (input.value = "");
    return box;
  }

  // ------------------------------------------------------------------ acting on many

  function scopeKeys() {
    const by = { chosen: () => ui.grid.chosen(), found: () => ui.grid.keys, all: () => null };
    return by[ui.scope.value]();
  }

  function ticked() {
    const tags = [...ui.set.selected];
    if (!tags.length) tell(ui.line, say("nothing_ticked"), "warning");
    return tags;
  }

  function removeTicked() {
    const tags = ticked();
    if (tags.length) edit({ kind: "remove", tags }, scopeKeys());
  }

  const select = (prefix, names, value) =>
    part("select", {}, ...names.map((name) => part("option", { value: name, selected: name === value }, say(`${prefix}${name}`))));

  function actsPart() {
    ui.scope = select("scope_", ["chosen", "found", "all"], "all");
    const many = suggesting(say("tag_entry"), (tags) => edit({ kind: "add", tags, position: where.value }, scopeKeys()));
    const where = select("add_", ["end", "front"], "end");
    const [find, to] = ["replace_find", "replace_to"].map((key) => part("input", { placeholder: say(key), "aria-label": say(key) }));
    const mode = select("mode_", ["tag", "text", "regex"], "tag");
    const sort = select("sort_", ["alpha", "count", "length", "dictionary"], "alpha");
    const typed = (kind) => {
      const tags = many.tags();
      many.clear();
      if (tags.length) edit(kind === "add" ? { kind, tags, position: where.value } : { kind, tags }, scopeKeys());
    };
    return part(
      "section.lf-part.lf-acts",
      {},
      part("label.lf-field", {}, part("span", {}, say("scope")), ui.scope),
      part("div.lf-tools", {}, many, where, button(say("add"), () => typed("add")), button(say("remove_typed"), () => typed("remove"))),
      part(
        "div.lf-tools",
        {},
        button(say("remove"), removeTicked),
        button(say("front"), () => {
          const tags = ticked();
          if (tags.length) edit({ kind: "front", tags }, scopeKeys());
        }),
        button(say("untick"), () => ui.set.select([])),
        button(say("sort"), () => edit({ kind: "sort", by: sort.value, reverse: false }, scopeKeys())),
        sort,
        button(say("dedupe"), () => edit({ kind: "dedupe" }, scopeKeys())),
        button(say("clean"), () => edit({ kind: "clean" }, scopeKeys()), { title: say("clean_hint") })
      ),
      part(
        "div.lf-tools",
        {},
        find,
        to,
        mode,
        button(say("replace"), () => {
          if (find.value.trim()) edit({ kind: "replace", find: find.value.trim(), to: to.value.trim(), mode: mode.value }, scopeKeys());
        })
      )
    );
  }

  function fileButtons() {
    const file = part("input", { type: "file", hidden: true, accept: ".json,.zip", onchange: readFile });
    const kinds = part("select", { "aria-label": say("export") }, ...["txt_zip", "kohya_json", "csv"].map((name) => part("option", { value: name }, name)));
    const save = () => {
      const link = part("a", { href: kit.address("tags/export", { project: project(), format: kinds.value }), download: "" });
      link.click();
    };
    return part("span.lf-tools", {}, button(say("export"), save), kinds, button(say("import"), () => file.click(), { title: say("import_hint") }), file);
  }

  async function readFile(event) {
    const [file] = event.target.files;
    event.target.value = "";
    if (!file) return;
    const query = { project: project(), base: book.revision, client: CLIENT, language: place.dataset.language };
    const headers = { "Content-Type": "application/octet-stream" };
    await answered(() => kit.ask("tags/import", query, { method: "POST", headers, body: file }));
  }

  // ------------------------------------------------------------------ the trait assistant

  async function drawTraits() {
    const told = await get("traits", { project: project(), kind: kit.kind() }).catch(() => null);
    put(ui.traits);
    if (!told || !order.length) return;
    showTraits(told);
  }

  function showTraits(told) {
    const answers = {};
    const rows = told.groups.flatMap((group) => [
      part("h5", {}, group.title),
      ...group.traits.map((trait) => traitRow(trait, answers)),
    ]);
    const sentence = part("p", {}, told.sentence || "");
    const apply = button(say("apply_traits"), () => applyTraits(answers));
    apply.classList.add("lf-primary");
    apply.id = "lora_forge_apply_traits";
    put(ui.traits, 
      part("div.lf-tools", {}, part("h4", {}, say("traits_title")), part("span.lf-quiet", {}, say("traits_hint"))),
      contradictionsPart(told.contradictions || []),
      part("div.lf-traits", {}, ...rows),
      sentence,
      examplesPart(told.examples || []),
      part(
        "div.lf-tools",
        {},
        apply,
        button(say("accept_all"), () => {
          for (const trait of told.groups.flatMap((group) => group.traits)) {
            if (!trait.answer) {
              const radio = $(`input[name="${CSS.escape(`lf-trait-${trait.tag}`)}"][value="${trait.proposal}"]`, ui.traits);
              if (radio) radio.click();
            }
          }
        })
      )
    );
  }

  function traitRow(trait, answers) {
    const chosen = trait.answer || "";
    if (chosen) answers[trait.tag] = chosen;
    const radios = ["part", "changeable", "leave"].map((value) => {
      const radio = part("input", { type: "radio", name: `lf-trait-${trait.tag}`, value, checked: value === chosen, onchange: () => (answers[trait.tag] = value) });
      const label = part("label", { title: value === trait.proposal ? trait.why : "" }, radio, part("span", {}, say(value)));
      if (value === trait.proposal) label.append(part("small", {}, ` ${say("proposed")}`));
      return label;
    });
    const share = Math.round(100 * trait.share);
    const fill = button(say("complete"), () => applyTraits({ ...answers, [trait.tag]: "changeable" }, [trait.tag]), { hidden: trait.share >= 1 || trait.share < 0.6 });
    return part(
      "div.lf-trait",
      { data: { tag: trait.tag } },
      part("span.lf-name", { title: trait.why || "" }, ...named(trait.tag), part("small", {}, ` ${say("share", { count: trait.count, share })}`)),
      part("span.lf-radios", {}, ...radios),
      fill
    );
  }

  function examplesPart(examples) {
    if (!examples.length) return null;
    return part("div", {}, part("b", {}, say("examples")), ...examples.map((text) => part("code.lf-example", {}, text)));
  }

  function contradictionsPart(contradictions) {
    if (!contradictions.length) return null;
    return part(
      "div.lf-note.lf-warning",
      {},
      part("b", {}, say("contradictions")),
      ...contradictions.map((one) =>
        part(
          "div.lf-tools",
          {},
          part("span", {}, one.sentence),
          button(say("found", { count: one.photos.length, total: order.length }), () => {
            found = new Set(one.photos);
            drawPhotos();
          }),
          ...one.fixes.map((fix) => button(fix.label, () => mend(one, fix)))
        )
      )
    );
  }

  async function mend(contradiction, fix) {
    if (fix.operation) await edit(fix.operation, fix.keys || contradiction.photos);
    if (Object.keys(fix.answers || {}).length) await applyTraits(fix.answers);
    else await drawTraits();
  }

  async function applyTraits(answers, complete) {
    await queue;
    let told = null;
    await answered(async () => (told = await post("traits", { project: project(), base: book.revision, answers, complete: complete || [], kind: kit.kind() })));
    if (!told) return;
    tell(ui.line, say("applied"), "good");
    if (told.traits) showTraits(told.traits);
    else await drawTraits();
  }

  // ------------------------------------------------------------------ automatic tags

  let auto = null;

  // First in the step: without any tags it is where to begin; later it is folded.
  function autoPart() {
    ui.auto = part("div.lf-auto");
    ui.downloads = part("div");
    ui.autoFold = part("details.lf-list", {}, part("summary", {}, part("b", {}, say("auto_title"))), ui.auto, ui.downloads);
    return ui.autoFold;
  }

  function foldAuto() {
    const tagged = [...book.captions.values()].filter((caption) => caption.tags.length).length;
    if (ui.autoFold.dataset.project !== shownProject) ui.autoFold.open = order.length > 0 && tagged < order.length / 2;
    ui.autoFold.dataset.project = shownProject;
  }

  async function drawAuto() {
    const told = await get("taggers", {}).catch(() => null);
    put(ui.auto);
    auto = null;
    if (told && order.length) showAuto(told.taggers);
    forge.models.show(place, ui.downloads, ui.line, (one) => one.kind === "tagger", drawAuto);
  }

  function slider(value, oninput) {
    const number = part("output", {}, value.toFixed(2));
    const input = part("input", { type: "range", min: 0.05, max: 1, step: 0.01, value });
    input.addEventListener("input", () => {
      number.textContent = Number(input.value).toFixed(2);
      oninput();
    });
    return { input, element: part("span.lf-slider", {}, input, number), set: (next) => ((input.value = next), (number.textContent = Number(next).toFixed(2))) };
  }

  const labelled = (key, element) => part("label.lf-field", {}, part("span", {}, say(key)), element);
  const list = (input) => input.value.split(/[,，]/).map((tag) => tag.trim()).filter(Boolean);

  function showAuto(taggers) {
    const ready = taggers.filter((one) => one.state === "ready");
    const head = part("p.lf-quiet", {}, say("auto_hint"));
    if (!ready.length) {
      put(ui.auto, head, part("p", {}, say("no_tagger")));
      return;
    }
    auto = {
      tagger: part("select", { id: "lora_forge_tagger" }, ...ready.map((one) => part("option", { value: one.id }, one.name))),
      general: slider(0.35, () => previewSoon()),
      character: slider(0.85, () => previewSoon()),
      exclude: part("input", { oninput: () => previewSoon() }),
      add: part("input", { oninput: () => previewSoon() }),
      swap: part("input", { oninput: () => previewSoon(), placeholder: say("swap") }),
      mode: select("mode_", ["replace", "append", "prepend", "fill_empty"], "replace"),
      underscores: part("input", { type: "checkbox", onchange: () => previewSoon() }),
      characters: part("input", { type: "checkbox", checked: true, onchange: () => previewSoon() }),
      sentence: part("p.lf-quiet"),
      preview: part("div.lf-preview"),
    };
    const chosen = () => {
      const one = ready.find((known) => known.id === auto.tagger.value);
      auto.sentence.textContent = one.sentence || "";
      if (one.thresholds) {
        auto.general.set(one.thresholds.general);
        auto.character.set(one.thresholds.character);
      }
      const isTags = one.kind === "tags";
      for (const field of [auto.general.element, auto.character.element]) field.parentElement.hidden = !isTags;
      previewSoon();
    };
    const run = button(say("auto_run"), () => runAuto(false), { id: "lora_forge_auto_run" });
    const look = button(say("auto_look"), () => runAuto(true), { title: say("auto_look_hint") });
    run.classList.add("lf-primary");
    put(ui.auto, 
      head,
      part("div.lf-tools", {}, labelled("tagger", auto.tagger), labelled("general", auto.general.element), labelled("character", auto.character.element), labelled("mode", auto.mode)),
      part(
        "div.lf-tools",
        {},
        labelled("exclude", auto.exclude),
        labelled("always", auto.add),
        labelled("swap", auto.swap),
        labelled("underscores", auto.underscores),
        labelled("character_tags", auto.characters),
        run,
        look
      ),
      auto.sentence,
      auto.preview
    );
    auto.tagger.addEventListener("change", chosen);
    chosen();
  }

  function autoOptions() {
    const pairs = list(auto.swap).map((pair) => pair.split("=").map((part) => part.trim()));
    return {
      tagger: auto.tagger.value,
      general: Number(auto.general.input.value),
      character: Number(auto.character.input.value),
      exclude: list(auto.exclude),
      add: list(auto.add),
      replace: Object.fromEntries(pairs.filter(([from, to]) => from && to)),
      mode: auto.mode.value,
      underscores: auto.underscores.checked,
      character_tags: auto.characters.checked,
    };
  }

  const previewSoon = kit.debounce(60, preview);

  async function preview() {
    if (!auto) return;
    const keys = ui.grid.chosen().slice(0, 1);
    if (!keys.length) return put(auto.preview);
    const told = await post("taggers/preview", { project: project(), keys, ...autoOptions() }).catch(() => null);
    const tags = told && told.tags[keys[0]];
    if (!tags) return put(auto.preview);
    put(auto.preview, part("b", {}, say("auto_preview")), part("div.lf-chips", {}, ...tags.map((tag) => part("span.lf-chip", {}, ...named(tag)))));
  }

  async function runAuto(onlyLooks) {
    await guarded(ui.line, async () => {
      await post("taggers/run", { project: project(), keys: null, only_scores: onlyLooks, ...autoOptions() });
      tell(ui.line, "");
      await kit.startedChore();
    });
  }

  // ------------------------------------------------------------------ going on

  kit.onChore(() => {
    if (place && kit.step() === "tags") refresh();
  });
  kit.onStep((name) => name === "tags" && refresh());
  kit.mount("#lora_forge_tags .lf-tags", build);
  setInterval(() => {
    if (!place || kit.step() !== "tags" || !forge.isVisible()) return;
    if (project() !== shownProject) refresh();
    else lookForChanges();
  }, 500);

  forge.tags = { refresh };
})();
