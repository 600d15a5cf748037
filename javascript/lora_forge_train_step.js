"use strict";
// The Train step, put together from its parts; loaded last of them.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.train || !forge.train.form || forge.train.step) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { $, button, mount, part, post, put } = kit;
  const train = forge.train;
  const { form, say } = train;

  let ui = {};
  let edited = null; // the waiting run that is being changed

  function build(place) {
    train.place = place;
    train.line = part("div.lf-told", { hidden: true });
    ui = { name: part("input", { type: "text", spellcheck: false }), trigger: part("input", { type: "text", spellcheck: false }) };
    ui.name.addEventListener("input", () => train.takeName(ui.name.value, undefined));
    ui.trigger.addEventListener("input", () => train.takeName(undefined, ui.trigger.value));
    ui.plan = part("div", { id: "lora_forge_steps" });
    ui.start = button(say("start"), () => (edited ? keepEdited() : train.start()), { id: "lora_forge_start" });
    ui.start.classList.add("lf-primary", "lf-big");
    ui.trial = button(say("trial"), train.trial.start, { id: "lora_forge_trial", title: say("trial_hint") });
    ui.sweep = button(say("sweep"), train.queue.sweep, { id: "lora_forge_sweep", title: say("sweep_hint") });
    ui.cancel = button(say("edit_cancel"), () => editing(null), { hidden: true });
    put(
      place,
      part("div.lf-knobs", {}, knob("lora_forge_name", "name", "name_hint", ui.name), knob("lora_forge_trigger", "trigger", "trigger_hint", ui.trigger)),
      train.fields.knobs(),
      ui.plan,
      train.fields.fold(),
      part("div.lf-tools", {}, ui.start, ui.trial, ui.sweep, ui.cancel),
      train.trial.build(),
      train.line
    );
    $(".lf-groups", place).after(train.presets.build(), extras());
    draw();
    train.trial.load();
  }

  function knob(id, key, hint, input) {
    return part("label.lf-knob", { id }, part("b", {}, say(key)), input, part("small", {}, say(hint)));
  }

  // Of the run, not of the training.
  function extras() {
    const prove = part(
      "select",
      { id: "lora_forge_prove", onchange: () => (form.prove = prove.value) },
      ...["off", "weights", "picture"].map((one) => part("option", { value: one }, say(`prove_${one}`)))
    );
    const folder = part("input", { type: "text", placeholder: say("folder_example"), oninput: () => (form.folder = folder.value.trim()) });
    prove.value = form.prove;
    folder.value = form.folder;
    const fields = [
      part("label.lf-field", { title: say("prove_hint") }, part("span", {}, say("prove")), prove),
      part("label.lf-field", { title: say("folder_hint") }, part("span", {}, say("folder")), folder),
    ];
    return part("div.lf-part", {}, part("div.lf-tools", {}, ...fields));
  }

  function draw() {
    if (!train.place) return;
    for (const [input, value] of [
      [ui.name, form.name],
      [ui.trigger, form.trigger],
    ]) {
      if (document.activeElement !== input) input.value = value;
    }
    train.fields.draw();
    train.presets.draw();
    drawPlan();
  }

  function drawPlan() {
    const plan = form.told ? form.plan : null;
    const general = ((plan && plan.problems) || []).filter((one) => !one.key || !train.byKey(one.key));
    const elsewhere = ((plan && plan.problems) || []).filter((one) => one.key && train.byKey(one.key));
    put(
      ui.plan,
      plan && plan.sentence ? part("div.lf-note.lf-info.lf-plan", { role: "status" }, plan.sentence) : null,
      ...["memory", "disk"].map((name) => {
        const told = plan && plan[name]; // the line above has them in short: here is what is too little
        return told && !told.fits ? part("div.lf-note.lf-warning", { role: "alert" }, told.sentence) : null;
      }),
      ...[...general, ...elsewhere].map((one) => part("div.lf-note.lf-error", { role: "alert" }, one.sentence))
    );
    train.fields.refresh();
  }

  // ------------------------------------------------------------------ a waiting run, changed

  function editing(entry, settings) {
    edited = entry;
    ui.cancel.hidden = !entry;
    ui.start.textContent = say(entry ? "edit_keep" : "start");
    if (!entry) {
      train.tell("");
      return;
    }
    form.name = entry.name;
    train.setAll(settings.values);
    train.tell(say("editing", { name: entry.name }));
    ui.start.scrollIntoView({ block: "center" });
  }

  const keepEdited = () =>
    train.guarded(async () => {
      await post("queue/edit", { id: edited.id, ...train.body() });
      editing(null);
      train.tell(say("edit_kept", { name: form.name }), "good");
      await train.queue.refresh();
    });

  train.editing = editing;
  train.step = { draw };
  train.on("form", draw);
  train.on("plan", drawPlan);
  train.on("changed", () => train.fields.refresh());
  mount("#lora_forge_train .lf-train", build);
  mount("#lora_forge_live .lf-live .lf-run", train.live.build);
  mount("#lora_forge_history .lf-history", train.queue.build);
  kit.onStep((name) => {
    if (name === "train" && train.place) {
      train.load();
      train.queue.refresh();
    }
  });
  let shownProject = null;
  setInterval(() => {
    if (!train.place || !forge.isVisible()) return;
    if (kit.project() !== shownProject) {
      shownProject = kit.project();
      train.live.forget();
      train.trial.load();
      train.queue.draw();
    }
    train.follow();
  }, 300);
})();
