"use strict";
// Tools on the LoRA files of the host: a list to search, what a file says of itself, a lower rank, two as one.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.kit || forge.loras) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { button, get, part, post, put } = kit;

  const MOST_ROWS = 60;
  let place = null;
  let ui = {};
  let files = [];

  const say = (key, values) => kit.say(place, key, values);

  const load = kit.newest(async () => {
    if (!place) return;
    await kit.guarded(ui.line, async () => {
      files = (await get("loras/list")).files;
      draw();
    });
  });

  function build(where) {
    place = where;
    ui = {
      line: part("div.lf-told", { hidden: true }),
      search: part("input.lf-wide", { type: "search", placeholder: say("search"), "aria-label": say("search"), oninput: draw, id: "lora_forge_loras_search" }),
      count: part("span.lf-count"),
      rows: part("div.lf-lora-rows"),
      chore: kit.choreBar(place),
    };
    put(place, part("h3", {}, say("title")), part("div.lf-tools", {}, ui.search, ui.count), ui.line, ui.chore, ui.rows);
    load();
  }

  // ------------------------------------------------------------------ the list

  const isLike = (file, words) => {
    const text = [file.file, file.family, file.kind, file.trigger_word].join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  };

  function draw() {
    const words = ui.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = files.filter((file) => isLike(file, words));
    ui.count.textContent = files.length ? say("count", { shown: found.length, count: files.length }) : "";
    const more = found.length - MOST_ROWS;
    put(
      ui.rows,
      ...found.slice(0, MOST_ROWS).map(row),
      more > 0 ? part("p.lf-quiet", {}, say("more", { count: more })) : null,
      files.length ? null : part("p.lf-quiet", {}, say("none"))
    );
  }

  const megabytes = (file) => `${(file.size_bytes / 1e6).toFixed(file.size_bytes < 1e7 ? 1 : 0)} MB`;
  const canChange = (file) => ["LoRA", "LoCon"].includes(file.kind);

  function row(file) {
    const facts = file.is_readable
      ? [file.family, file.kind, file.rank ? say("rank", { rank: file.rank }) : "", megabytes(file), file.trigger_word]
      : [say("unreadable"), megabytes(file)];
    const tools = [button(say("facts"), () => showFacts(file))];
    if (canChange(file)) tools.push(button(say("resize"), () => resize(file)), button(say("merge"), () => merge(file)));
    return part(
      "div.lf-run-row",
      { data: { file: file.file } },
      part("span.lf-wide", {}, part("b", {}, file.file), part("span.lf-quiet", {}, ` ${facts.filter(Boolean).join(" · ")}`)),
      part("span.lf-tools", {}, ...tools)
    );
  }

  // ------------------------------------------------------------------ dialogs

  function dialog(title, ...children) {
    const line = part("div.lf-told", { hidden: true });
    const made = part(
      "dialog.lf-dialog",
      { "aria-label": title },
      part("div.lf-tools", {}, part("h4.lf-wide", {}, title), button("✕", () => made.close(), { "aria-label": say("close"), title: say("close") })),
      part("div.lf-dialog-body", {}, ...children, line)
    );
    made.addEventListener("close", () => made.remove());
    (place.closest("#lora_forge") || document.body).append(made);
    made.showModal();
    return { made, line };
  }

  const showFacts = (file) =>
    kit.guarded(ui.line, async () => {
      kit.tell(ui.line, "");
      const told = await get("loras/facts", { file: file.file });
      const rows = told.rows.flatMap((one) => [part("dt", {}, one.label), part("dd", {}, one.value)]);
      const open = dialog(
        told.file,
        ...told.problems.map((one) => part("div.lf-note.lf-warning", {}, one)),
        canChange(file) ? null : part("p.lf-quiet", {}, say("kind_other")),
        part("dl.lf-facts", {}, ...rows),
        ...captionWords(told, () => open),
        ...settings(told, () => open)
      );
    });

  function captionWords(told, opened) {
    if (!told.trigger_words.length) return [part("p.lf-quiet", {}, told.no_words)];
    const copy = async (word) => {
      const isCopied = await navigator.clipboard.writeText(word).then(() => true, () => false);
      if (isCopied) kit.tell(opened().line, say("copied", { word }), "good");
    };
    const chips = told.trigger_words.map((one) => {
      const share = one.share === null ? `${one.count}` : `${one.count} · ${Math.round(100 * one.share)}%`;
      const made = part("button.lf-lora-word", { type: "button", onclick: () => copy(one.word) }, one.word, part("small", {}, share));
      if (one.word === told.trigger_word) made.classList.add("lf-changed");
      return made;
    });
    return [part("div", {}, part("b", {}, say("words")), " ", part("span.lf-quiet", {}, say("words_hint"))), part("div.lf-lora-words", {}, ...chips)];
  }

  function settings(told, opened) {
    const pairs = Object.entries(told.settings);
    if (!pairs.length) return [part("p.lf-quiet", {}, say("settings_none"))];
    const shown = pairs.map(([key, value]) => part("code", {}, `${key} ${typeof value === "object" ? JSON.stringify(value) : value}`));
    const takeThem = button(say("take_settings"), () => take(told.settings, opened), { id: "lora_forge_take_settings" });
    takeThem.classList.add("lf-primary");
    const left = told.left.map((one) => part("li", {}, part("b", {}, `${one.key} = ${one.value}`), ` ${one.why}`));
    return [
      part("b", {}, say("settings")),
      part("div.lf-lora-settings", {}, ...shown),
      left.length ? part("details.lf-list", {}, part("summary", {}, say("left", { count: left.length })), part("ul", {}, ...left)) : null,
      part("div.lf-tools", {}, takeThem),
    ];
  }

  const take = (values, opened) =>
    kit.guarded(opened().line, async () => {
      const train = forge.train;
      await train.load(); // of the project that is chosen now
      train.setAll({ ...train.form.values, ...values });
      opened().made.close();
      kit.chooseStep("train");
      train.tell(say("taken", { count: Object.keys(values).length }), "good");
    });

  // ------------------------------------------------------------------ making new files

  const number = (props) => part("input", { type: "number", ...props });
  const knob = (label, control) => part("label.lf-knob", {}, part("b", {}, label), control);
  const nameField = () => part("input", { type: "text", placeholder: say("new_name_empty"), spellcheck: false });

  // What a dialog asks for is started as a chore; what is refused stays in the dialog.
  function starter(opened, route, body) {
    const start = button(say("start"), async () => {
      start.disabled = true;
      await kit.guarded(opened().line, async () => {
        await post(route, body());
        opened().made.close();
        await kit.startedChore();
      });
      start.disabled = false;
    });
    start.classList.add("lf-primary");
    return part("div.lf-tools", {}, start);
  }

  function resize(file) {
    const rank = number({ min: 1, max: 1024, step: 1, value: Math.max(1, Math.round((file.rank || 32) / 2)) });
    const share = number({ min: 1, max: 100, step: 1, value: 95, disabled: true });
    const [byRank, byShare] = ["rank", "share"].map((way) => part("input", { type: "radio", name: "lf_resize", value: way, checked: way === "rank" }));
    for (const radio of [byRank, byShare]) radio.addEventListener("change", () => ([rank.disabled, share.disabled] = [!byRank.checked, byRank.checked]));
    const name = nameField();
    const body = () => ({
      file: file.file,
      ...(byRank.checked ? { rank: Math.round(rank.valueAsNumber) || 0 } : { keep_share: share.valueAsNumber / 100 }),
      new_name: name.value,
    });
    const open = dialog(
      `${say("resize")}: ${file.name}`,
      part("p.lf-quiet", {}, say("resize_hint")),
      part("label.lf-field", {}, byRank, say("by_rank"), rank),
      part("label.lf-field", {}, byShare, say("by_share"), share),
      knob(say("new_name"), name),
      starter(() => open, "loras/resize", body)
    );
  }

  function merge(file) {
    const others = files.filter((one) => one.file !== file.file && canChange(one) && (!one.family || !file.family || one.family === file.family));
    const second = part("select", {}, ...others.map((one) => part("option", { value: one.file }, one.file)));
    const strengths = [0, 1].map(() => number({ min: -4, max: 4, step: 0.05, value: 1 }));
    const [rank, name] = [number({ min: 1, max: 1024, step: 1 }), nameField()];
    const body = () => ({
      first: file.file, first_strength: strengths[0].valueAsNumber, second: second.value, second_strength: strengths[1].valueAsNumber,
      rank: Number.isFinite(rank.valueAsNumber) ? Math.round(rank.valueAsNumber) : null, new_name: name.value,
    });
    const open = dialog(
      `${say("merge")}: ${file.name}`,
      part("p.lf-quiet", {}, say("merge_hint")),
      part("div.lf-knobs", {}, knob(say("first_strength", { name: file.name }), strengths[0]), knob(say("with"), second), knob(say("strength"), strengths[1])),
      knob(say("merge_rank"), rank),
      knob(say("new_name"), name),
      starter(() => open, "loras/merge", body)
    );
  }

  // ------------------------------------------------------------------ when

  kit.onChore(async () => {
    if (!place || kit.step() !== "keep") return;
    const before = files.length;
    await load();
    if (files.length !== before) forge.refreshLoras();
  });
  kit.onStep((name) => name === "keep" && load());
  forge.onFiles(() => place && kit.step() === "keep" && load());
  kit.mount("#lora_forge_loras .lf-loras", build);

  forge.loras = { load };
})();
