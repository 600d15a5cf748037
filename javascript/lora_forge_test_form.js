"use strict";
// The Test step's form: which LoRA, which cells, which words; what it comes to, and who scores it.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.test || forge.test.fields) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { $, button, get, part, post, put } = kit;
  const test = forge.test;
  const { form, say } = test;

  const NUMBERS = ["width", "height", "steps", "guidance", "clip_skip", "seed", "seeds"];
  let ui = {};
  const inputs = {}; // by the form's key: {element, write}

  const knob = (key, control, hint) =>
    part("label.lf-knob", { data: { key } }, part("b", {}, say(key)), control, hint ? part("small", {}, say(hint)) : null);

  function text(key, isLong) {
    const element = isLong ? part("textarea", { rows: 2, spellcheck: false }) : part("input", { type: "text", spellcheck: false });
    element.addEventListener("input", () => test.set(key, element.value));
    inputs[key] = { element, write: (value) => (element.value = value) };
    return element;
  }

  // Tags with commas between.
  function tags(key) {
    const element = part("input", { type: "text", spellcheck: false, list: "lf_test_swaps" });
    const read = () => element.value.split(/[,，]/).map((one) => one.trim()).filter(Boolean);
    element.addEventListener("input", () => test.set(key, read()));
    inputs[key] = { element, write: (value) => (element.value = (value || []).join(", ")) };
    return element;
  }

  function number(key) {
    const element = part("input", { type: "number", step: key === "guidance" ? 0.5 : ["width", "height"].includes(key) ? 8 : 1, min: 0 });
    element.addEventListener("input", () => Number.isFinite(element.valueAsNumber) && test.set(key, element.valueAsNumber));
    inputs[key] = { element, write: (value) => (element.value = value) };
    return part("label.lf-field", { data: { key } }, part("span", {}, say(key)), element);
  }

  function sampler() {
    const element = part("select", { onchange: () => test.set("sampler", element.value) });
    inputs.sampler = {
      element,
      write: (value) => {
        put(element, ...(form.told.samplers || [value]).map((one) => part("option", { value: one }, one)));
        element.value = value;
      },
    };
    return part("label.lf-field", {}, part("span", {}, say("sampler")), element);
  }

  function modes() {
    const made = ["smart", "full"].map((mode) => {
      const radio = part("input", { type: "radio", name: "lf_test_mode", value: mode, checked: mode === "smart" });
      radio.addEventListener("change", () => radio.checked && test.set("mode", mode));
      return part("label.lf-field", { title: say(`mode_${mode}_hint`) }, radio, part("span", {}, say(`mode_${mode}`)));
    });
    return part("div.lf-knob", {}, part("b", {}, say("mode")), part("span.lf-tools", {}, ...made), part("small", {}, say("mode_smart_hint")));
  }

  function build() {
    ui = {
      lora: part("select", { id: "lora_forge_test_lora", onchange: () => test.choose({ name: ui.lora.value }) }),
      swaps: part("datalist", { id: "lf_test_swaps" }),
      plan: part("div", { id: "lora_forge_test_plan" }),
      judges: part("details.lf-list.lf-judges"),
      said: part("div"),
      missing: part("div"),
      downloads: part("div"),
    };
    ui.start = button(say("start"), test.start, { id: "lora_forge_test_start" });
    ui.start.classList.add("lf-primary", "lf-big");
    return part(
      "div.lf-test-form",
      {},
      part("div.lf-knobs", {}, knob("lora", ui.lora), modes(), knob("epochs", text("epochs")), knob("strengths", text("strengths"))),
      knob("prompt", text("prompt", true), "prompt_hint"),
      knob("swaps", tags("swaps"), "swaps_hint"),
      ui.swaps,
      part(
        "details.lf-list",
        { id: "lora_forge_test_more" },
        part("summary", {}, say("more")),
        knob("negative", text("negative", true)),
        part("div.lf-tools.lf-test-more", {}, ...NUMBERS.map(number), sampler())
      ),
      ui.judges,
      ui.missing,
      ui.downloads,
      ui.plan,
      part("div.lf-tools", {}, ui.start, ...elsewhere()),
      ui.said
    );
  }

  // ------------------------------------------------------------------ other ways

  const hasTxt2img = () => Boolean($("#lora_forge_paste"));

  function elsewhere() {
    if (!hasTxt2img()) return [button(say("command"), showCommand, { id: "lora_forge_test_command" })];
    return [
      button(say("in_txt2img"), () => fill(true), { id: "lora_forge_test_txt2img", title: say("in_txt2img_hint") }),
      button(say("only_fill"), () => fill(false), { id: "lora_forge_test_fill" }),
      button(say("open_grid"), test.openGrid, { id: "lora_forge_test_open", title: say("open_grid_hint") }),
    ];
  }

  const fill = (presses) =>
    test.guarded(async () => {
      const { text, expected } = await post("test/infotext", test.body());
      await forge.fillTxt2img(text, expected, presses, test.tell);
    });

  const showCommand = () =>
    test.guarded(async () => {
      const { text } = await post("test/command", test.body());
      put(ui.said, part("div.lf-note.lf-info", {}, say("command_said")), part("pre", {}, text));
    });

  // ------------------------------------------------------------------ drawing

  function draw() {
    if (!ui.lora || !form.told) return;
    drawLoras();
    for (const [key, { element, write }] of Object.entries(inputs)) {
      const value = test.current(key);
      if (document.activeElement !== element && value !== undefined && value !== null) write(value);
    }
    put(ui.swaps, ...(form.told.swap_choices || []).map((one) => part("option", { value: one })));
    drawJudges();
    ui.start.disabled = !form.told.name;
  }

  function drawLoras() {
    const option = (one) => part("option", { value: one.name, selected: one.name === form.told.name }, one.name);
    const own = form.told.loras.filter((one) => one.is_of_project);
    const others = form.told.loras.filter((one) => !one.is_of_project);
    const rest = others.length ? part("optgroup", { label: say("other_loras") }, ...others.map(option)) : null;
    const none = form.told.loras.length ? null : part("option", { value: "" }, say("no_lora"));
    put(ui.lora, none, ...own.map(option), rest);
  }

  function drawJudges() {
    const { judges, missing } = form.told;
    const row = (one) =>
      part(
        "li",
        { data: { score: one.score } },
        part("b", {}, one.title),
        ` ${one.name} · ${say("judge_range", { unit: one.unit, range: one.range })}`,
        part("p.lf-quiet", {}, one.sentence)
      );
    put(ui.judges, part("summary", {}, say("judges")), part("ul", {}, ...judges.map(row)));
    put(ui.missing, ...missing.map(missingRow));
  }

  function missingRow(one) {
    const text = part("span", {}, say("judge_missing", { titles: one.title }), " ", one.sentence);
    const get = one.item ? button(say("get_judge"), () => offer(one.item)) : null;
    return part("div.lf-note.lf-warning.lf-missing", { data: { score: one.score } }, text, " ", get);
  }

  // The models that would do, with their size and terms.
  function offer(item) {
    forge.models.show(test.place, ui.downloads, test.line, (one) => one.id === item, () => test.load());
    ui.downloads.dataset.open = "true";
  }

  function drawPlan() {
    if (!ui.plan) return;
    const { sentence, problems } = form.plan || { problems: [] };
    put(
      ui.plan,
      sentence ? part("div.lf-note.lf-info", { role: "status" }, sentence) : null,
      ...(problems || []).map((one) => part("div.lf-note.lf-error", { role: "alert" }, one.sentence))
    );
  }

  // ------------------------------------------------------------------ grids of the WebUI

  test.openGrid = () =>
    test.guarded(async () => {
      const { grids } = await get("test/host_grids", { project: kit.project() });
      const dialog = part("dialog.lf-dialog", { "aria-label": say("open_grid_title") });
      const take = (answer) =>
        test.guarded(async () => {
          const { id } = await answer;
          dialog.close();
          test.tell(say("opened_grid"), "good");
          await test.load();
          await test.show(id);
        });
      const row = (one) =>
        part(
          "div.lf-finding",
          {},
          part("b", {}, say("open_grid_row", { name: one.name, columns: one.epochs.length, rows: one.strengths.length })),
          part("small.lf-quiet", {}, one.file),
          button(say("open_grid"), () => take(post("test/open", { project: kit.project(), kind: kit.kind(), id: one.id })))
        );
      const file = part("input", { type: "file", accept: "image/png", hidden: true });
      file.addEventListener("change", () => file.files.length && take(send(file.files[0])));
      put(
        dialog,
        part("div.lf-tools", {}, part("h4", {}, say("open_grid_title")), button("✕", () => dialog.close(), { title: say("close") })),
        part("p.lf-quiet", {}, say("open_grid_hint")),
        ...(grids.length ? grids.map(row) : [part("p", {}, say("open_grid_none"))]),
        part("div.lf-tools", {}, button(say("open_grid_file"), () => file.click()), file)
      );
      dialog.addEventListener("close", () => dialog.remove());
      $("#lora_forge").append(dialog);
      dialog.showModal();
    });

  function send(file) {
    const headers = { "Content-Type": "image/png" };
    return kit.ask("test/open_file", { project: kit.project(), kind: kit.kind(), name: file.name }, { method: "POST", headers, body: file });
  }

  test.fields = { build, draw };
  test.on("form", draw);
  test.on("plan", drawPlan);
})();
