"use strict";
// The Tags step: the caption of the chosen photos, as chips and as text.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.tags || forge.tags.caption) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { $, button, part, put } = kit;
  const desk = forge.tags;
  const { edit, named, say, tagsIn, tell, zh } = desk;

  let ui = {};
  let copied = null;
  let typed = null; // the photos one of whose chips is being changed

  function build() {
    ui = { picture: part("img.lf-large", { alt: "", hidden: true }) };
    ui.chips = part("div.lf-chips", { role: "list" });
    ui.tokens = part("span.lf-count");
    ui.entry = desk.suggesting(say("tag_entry"), (tags) => edit({ kind: "add", tags, position: "end" }, desk.grid.chosen()));
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
          if (!copied) return tell(say("nothing_copied"), "warning");
          edit({ kind: "paste", tags: copied, mode: paste.value }, desk.grid.chosen());
        }),
        paste
      )
    );
  }

  function draw() {
    if (!desk.book) return;
    const keys = desk.grid.chosen();
    const [first] = keys;
    const photo = keys.length === 1 ? desk.photos.get(first) : null;
    ui.picture.hidden = !photo;
    if (photo) {
      const source = kit.picture(photo, 384);
      if (ui.picture.getAttribute("src") !== source) ui.picture.src = source;
    }
    const isNone = !keys.length;
    ui.captionTitle.textContent = isNone ? say(desk.order.length ? "no_photo" : "no_photos") : keys.length > 1 ? say("several", { count: keys.length }) : first;
    ui.entry.hidden = isNone;
    ui.asText.hidden = keys.length !== 1;
    if (keys.length !== 1 || ui.text.dataset.key !== first) closeText();
    drawTokens(keys);
    drawChips(keys);
    desk.auto.previewSoon();
  }

  function focus() {
    $("input", ui.entry).focus();
  }

  function drawTokens(keys) {
    ui.tokens.textContent = "";
    ui.tokens.classList.remove("lf-over-limit");
    if (keys.length !== 1) return;
    const { tokens } = desk.book.captions.get(keys[0]);
    const isOver = tokens > desk.book.limit;
    ui.tokens.textContent = say("tokens", { tokens, limit: desk.book.limit });
    ui.tokens.title = isOver ? say("too_long", { limit: desk.book.limit }) : "";
    ui.tokens.classList.toggle("lf-over-limit", isOver);
  }

  // What is being typed stays, and the chip that has the focus keeps it.
  function drawChips(keys) {
    if (typed === String(keys)) return;
    const chip = ui.chips.contains(document.activeElement) ? document.activeElement.closest(".lf-chip") : null;
    const held = new Map();
    for (const key of keys) for (const tag of new Set(desk.book.captions.get(key).tags)) held.set(tag, (held.get(tag) || 0) + 1);
    put(ui.chips, ...[...held].map(([tag, count], index) => chipOf(tag, index, count < keys.length ? count : 0, keys)));
    if (chip) focusChip(chip.dataset.tag);
  }

  function chipOf(tag, index, someOf, keys) {
    const isLocked = tag === desk.book.trigger;
    const chip = part("span.lf-chip", { role: "listitem", title: isLocked ? say("locked") : say("drag_hint"), draggable: !isLocked && keys.length === 1, data: { tag } }, ...named(tag));
    if (zh(tag) && desk.place.dataset.language !== "zh") chip.title = `${zh(tag)}\n${chip.title}`;
    chip.classList.toggle("lf-some", Boolean(someOf));
    chip.classList.toggle("lf-locked", isLocked);
    if (someOf) chip.append(part("small", {}, ` ${someOf}/${keys.length}`));
    if (isLocked) return chip;
    chip.tabIndex = 0;
    chip.addEventListener("keydown", (event) => {
      if (event.target !== chip) return;
      const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const chips = [...ui.chips.children];
      if (way && event.altKey && keys.length === 1) edit({ kind: "move", tag, to: index + way }, keys);
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
    if (found) found.focus({ preventScroll: true });
  }

  function editChip(chip, tag, keys) {
    const input = part("input", { value: tag });
    let isOver = false;
    const end = (keeps) => {
      if (isOver) return;
      isOver = true;
      typed = null;
      const to = input.value.trim();
      if (keeps && to && to !== tag) edit({ kind: "replace", find: tag, to, mode: "tag" }, keys).then(draw);
      else queueMicrotask(draw); // a field that is taken out of the page loses the focus in the middle of that
    };
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") end(true);
      if (event.key === "Escape") end(false);
      event.stopPropagation();
    });
    input.addEventListener("blur", () => end(true));
    typed = String(keys);
    put(chip, input);
    input.select();
  }

  function showText() {
    const [key] = desk.grid.chosen();
    const caption = desk.book.captions.get(key);
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
    await edit({ kind: "set", text: ui.text.value, tags: tagsIn(ui.text.value) }, [key]);
    closeText();
  }

  function copyTags() {
    const keys = desk.grid.chosen();
    if (!keys.length) return tell(say("scope_empty"), "warning");
    copied = desk.book.captions.get(keys[0]).tags.filter((tag) => tag !== desk.book.trigger);
    tell(say("copied", { count: copied.length }), "info");
  }

  desk.caption = { build, draw, focus };
})();
