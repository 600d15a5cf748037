"use strict";
// The Train step: a person's own presets: keep, take, share as a file, bring in settings of other trainers.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.train || !forge.train.form || forge.train.presets) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { button, get, part, post, put } = kit;
  const train = forge.train;
  const { form, guarded, say, tell } = train;

  let ui = {};

  function build() {
    ui.choice = part("select", { id: "lora_forge_preset", onchange: enable });
    ui.name = part("input", { placeholder: say("preset_name") });
    ui.name.setAttribute("aria-label", say("preset_name"));
    ui.file = part("input", { type: "file", accept: ".json,.toml", hidden: true, onchange: bringFile });
    ui.take = button(say("preset_take"), takeOne);
    ui.share = button(say("preset_share"), share, { title: say("preset_share_hint") });
    ui.remove = button(say("preset_remove"), removeOne);
    ui.keep = button(say("preset_keep"), keepOne, { title: say("preset_keep_hint") });
    ui.left = part("div");
    return part(
      "div.lf-presets",
      {},
      part(
        "div.lf-tools",
        {},
        part("b", {}, say("own_presets")),
        ui.choice,
        ui.take,
        ui.share,
        ui.remove,
        ui.name,
        ui.keep,
        button(say("bring_settings"), () => ui.file.click(), { title: say("bring_settings_hint") }),
        ui.file
      ),
      ui.left
    );
  }

  function draw() {
    const known = (form.told && form.told.presets) || [];
    const chosen = ui.choice.value;
    put(
      ui.choice,
      part("option", { value: "" }, say(known.length ? "choose_preset" : "no_preset")),
      ...known.map((one) => part("option", { value: one.name }, say("preset_line", { name: one.name, count: one.changed })))
    );
    ui.choice.value = known.some((one) => one.name === chosen) ? chosen : "";
    enable();
  }

  function enable() {
    for (const one of [ui.take, ui.share, ui.remove]) one.disabled = !ui.choice.value;
  }

  const fresh = async () => {
    await train.load();
    draw();
  };

  const keepOne = () =>
    guarded(async () => {
      const name = ui.name.value.trim() || ui.choice.value;
      await post("presets/save", { name, kind: kit.kind(), values: form.values });
      await fresh();
      ui.choice.value = name;
      ui.name.value = "";
      enable();
      tell(say("preset_kept", { name }), "good");
    });

  const takeOne = () =>
    guarded(async () => {
      const name = ui.choice.value;
      const told = await get("presets/one", { name });
      await withKind(told.kind);
      train.setAll(told.values);
      tell(say("preset_taken", { name }), "good");
    });

  const removeOne = () =>
    guarded(async () => {
      const name = ui.choice.value;
      await post("presets/remove", { name });
      await fresh();
      tell(say("preset_removed", { name }));
    });

  function share() {
    const link = part("a", { href: kit.address("presets/file", { name: ui.choice.value }), download: `${ui.choice.value}.json` });
    link.click();
  }

  // The type's own defaults come first; what was kept goes on top of them.
  async function withKind(kind) {
    const choice = kind && kit.$(`#lora_forge_kind input[value="${CSS.escape(kind)}"]`);
    if (!choice || choice.checked) return;
    choice.click();
    await train.load();
  }

  async function bringFile(event) {
    const [file] = event.target.files;
    event.target.value = "";
    if (!file) return;
    await guarded(async () => {
      const told = await post("presets/import", { text: await file.text(), file_name: file.name });
      await withKind(told.kind);
      train.setAll({ ...form.values, ...told.values });
      tell(say("settings_brought", { count: told.taken.length, name: file.name }), told.taken.length ? "good" : "warning");
      const rows = told.left.map((one) => part("li", {}, part("b", {}, `${one.key} = ${one.value}`), ` ${one.why}`));
      put(
        ui.left,
        rows.length ? part("details.lf-list", { open: rows.length < 8 }, part("summary", {}, say("settings_left", { count: rows.length })), part("ul", {}, ...rows)) : null
      );
    });
  }

  train.presets = { build, draw };
})();
