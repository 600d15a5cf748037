"use strict";
// The Train step: the run as it goes: what it can be told, its chart and previews, its end. It shows the run that is at
// work, else the one that was chosen, else the project's newest; all of it comes from the disk, so it outlives the page.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.train || !forge.train.form || forge.train.live) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { button, get, part, post, project, put } = kit;
  const RUNNING = ["waiting", "running", "stopping"];
  const KEPT_NOTIFY = "lora_forge_notify";

  let ui = null;
  let shown = null; // {project, name} of the run in view
  let wanted = null; // chosen by hand
  let last = null; // the board's last answer
  let looked = 0;
  const queue = kit.queue(); // of what the run is told

  const say = (key, values) => kit.say(ui.place, key, values);
  const guarded = (act) => kit.guarded(ui.line, act);
  const train = () => forge.train;

  // ------------------------------------------------------------------ the frame

  function build(place) {
    place.dataset.words = place.closest(".lf-live").dataset.words;
    ui = { place, line: part("div.lf-told", { hidden: true }) };
    const told = (command) => command in TOLD && kit.tell(ui.line, say(TOLD[command]));
    const tell = (command, key, hint) => button(say(key), () => send({ command }, () => told(command)), { title: say(hint), data: { command } });
    ui.pause = tell("pause", "pause", "pause_hint");
    ui.goOn = tell("resume", "go_on", "go_on_hint");
    ui.controls = part(
      "div.lf-tools",
      { id: "lora_forge_controls" },
      ui.pause,
      ui.goOn,
      tell("stop_and_save", "stop_and_save", "stop_and_save_hint"),
      tell("stop", "stop_without", "stop_without_hint"),
      tell("save_now", "save_now", "save_now_hint"),
      tell("preview_now", "preview_now", "preview_now_hint"),
      button(say("preview_prompts"), togglePrompts, { id: "lora_forge_prompts" }),
      notifyBox()
    );
    ui.controls.querySelector('[data-command="stop_and_save"]').id = "lora_forge_stop_and_save";
    ui.controls.querySelector('[data-command="stop"]').id = "lora_forge_stop";
    ui.prompts = promptFields();
    ui.which = part("h4.lf-which");
    ui.actions = part("div.lf-tools");
    ui.report = part("textarea.lf-report", { readOnly: true, rows: 12, hidden: true });
    ui.chart = train().chart(place);
    ui.strip = train().strip(place);
    put(
      place,
      ui.controls,
      ui.prompts,
      ui.line,
      part("div.lf-tools", {}, ui.which, ui.actions),
      ui.report,
      part("section.lf-chart-part", {}, ui.chart.element),
      part("section.lf-strip-part", {}, ui.strip.element)
    );
    shown = null;
    looked = 0;
    if (last) take(last);
  }

  function promptFields() {
    const field = part("textarea", { rows: 3, spellcheck: false });
    field.setAttribute("aria-label", say("preview_prompts"));
    const box = part(
      "div.lf-prompts",
      { hidden: true },
      part("p.lf-quiet", {}, say("prompts_hint")),
      field,
      button(say("use_prompts"), () => {
        const prompts = field.value.split("\n").map((line) => line.trim()).filter(Boolean);
        send({ command: "preview_prompts", prompts }, () => {
          kit.tell(ui.line, say("prompts_taken"), "good");
          box.hidden = true;
        });
      })
    );
    box.field = field;
    return box;
  }

  async function togglePrompts() {
    ui.prompts.hidden = !ui.prompts.hidden;
    if (ui.prompts.hidden || !shown) return;
    const told = await get("runs/settings", shown).catch(() => null);
    const known = (told && told.values.preview_prompts) || ["TRIGGER"];
    if (!ui.prompts.field.value) ui.prompts.field.value = known.join("\n");
    ui.prompts.field.focus();
  }

  const send = (body, then) =>
    queue(() =>
      guarded(async () => {
        kit.tell(ui.line, "");
        await post("command", body);
        then();
      })
    );

  const TOLD = { save_now: "told_save", preview_now: "told_preview", pause: "told_pause" };

  // ------------------------------------------------------------------ what the board says

  function take(told) {
    const before = last;
    last = told;
    if (!ui) return;
    const isOn = RUNNING.includes(told.state);
    for (const one of ui.controls.querySelectorAll("[data-command]")) one.disabled = !isOn;
    ui.pause.hidden = told.is_paused;
    ui.goOn.hidden = !told.is_paused;
    ui.controls.querySelector("#lora_forge_prompts").disabled = !isOn;
    if (isOn && told.about && (!before || before.job !== told.job)) wanted = null; // a new run comes into view
    // a short job on a warm program begins and ends between two looks
    if (before && !isOn && (before.job !== told.job || RUNNING.includes(before.state))) ended(told);
  }

  function ended(told) {
    looked = 0;
    announce(told);
    if (train().trial) train().trial.load();
    if (train().queue) train().queue.refresh();
    if (train().place) train().load();
  }

  function target() {
    const isOn = last && RUNNING.includes(last.state) && last.about && last.about.name;
    if (wanted) return wanted;
    if (isOn) return { project: last.about.project, name: last.about.name };
    const newest = train().queue ? train().queue.newest(project()) : null;
    return newest ? { project: newest.project, name: newest.name } : null;
  }

  // ------------------------------------------------------------------ keeping up

  function tick() {
    if (!ui || !forge.isVisible() || kit.step() !== "train") return;
    const isOn = last && RUNNING.includes(last.state);
    if (Date.now() - looked < (isOn ? 1500 : 6000)) return;
    looked = Date.now();
    const now = target();
    const isNew = JSON.stringify(now) !== JSON.stringify(shown);
    shown = now;
    ui.which.textContent = now ? now.name : "";
    ui.which.hidden = !now;
    for (const one of [ui.chart, ui.strip]) {
      one.element.parentElement.hidden = !now;
      if (!now) continue;
      if (isNew) one.show(now);
      else one.update();
    }
    drawActions(now);
  }

  function drawActions(now) {
    const run = now && train().queue ? train().queue.runOf(now) : null;
    const key = JSON.stringify([now, run && run.state, run && run.message, kit.language()]);
    if (ui.actionsKey === key) return;
    ui.actionsKey = key;
    ui.report.hidden = true;
    put(
      ui.actions,
      run ? part(`span.lf-run-state.lf-run-${run.state}`, {}, say(run.state)) : null,
      run && run.can_resume ? button(say("resume_run"), () => resume(now), { id: "lora_forge_resume_run", title: say("resume_hint") }) : null,
      run ? button(say("take_settings"), () => takeSettings(now)) : null,
      run ? button(say("report"), () => report(now), { id: "lora_forge_report" }) : null,
      run && run.message ? part("span.lf-short", {}, run.message) : null
    );
  }

  const resume = (now) =>
    guarded(async () => {
      await post("runs/resume", now);
      looked = 0;
    });

  const takeSettings = (now) =>
    guarded(async () => {
      const told = await get("runs/settings", now);
      train().setAll(told.values);
      train().tell(train().say("settings_of", { name: now.name }), "good");
    });

  const report = (now) =>
    guarded(async () => {
      const { text } = await get("runs/report", now);
      ui.report.value = text;
      ui.report.hidden = false;
      ui.report.select();
      const isCopied = await copy(text);
      kit.tell(ui.line, say(isCopied ? "report_copied" : "report_shown"), "good");
    });

  // Without https a browser gives no clipboard; the old way needs the text selected.
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch (_) {
      return document.execCommand && document.execCommand("copy");
    }
  }

  // ------------------------------------------------------------------ the end, told

  function notifyBox() {
    const box = part("input", { type: "checkbox", id: "lora_forge_notify", onchange: () => askToNotify(box) });
    box.checked = keptNotify();
    return part("label.lf-field", { title: say("notify_hint") }, box, part("span", {}, say("notify")));
  }

  function keptNotify() {
    try {
      return window.localStorage.getItem(KEPT_NOTIFY) === "yes";
    } catch (_) {
      return false;
    }
  }

  async function askToNotify(box) {
    try {
      window.localStorage.setItem(KEPT_NOTIFY, box.checked ? "yes" : "no");
    } catch (_) {
      // a browser that keeps nothing: for this visit then
    }
    if (!box.checked) return;
    // Browsers notify on https and on this machine alone; elsewhere the window's title tells.
    const may = window.Notification && window.isSecureContext ? await window.Notification.requestPermission() : "no";
    if (may !== "granted") kit.tell(ui.line, say("notify_title_only"));
  }

  function announce(told) {
    const box = document.querySelector("#lora_forge_notify");
    if (!box || !box.checked) return;
    const text = `${told.title}: ${say(told.state)}`;
    const note = document.title;
    document.title = `● ${text}`;
    const back = () => {
      document.title = note;
      window.removeEventListener("focus", back);
    };
    if (document.hasFocus()) setTimeout(back, 8000);
    else window.addEventListener("focus", back);
    if (window.Notification && window.Notification.permission === "granted") new window.Notification("LoRA Forge", { body: text });
  }

  // ------------------------------------------------------------------ for the parts

  function follow(name_of_project, name) {
    wanted = null;
    if (!(last && RUNNING.includes(last.state))) wanted = { project: name_of_project, name };
    looked = 0;
  }

  function choose(run) {
    wanted = { project: run.project, name: run.name };
    looked = 0;
    tick();
    if (ui) ui.which.scrollIntoView({ block: "nearest" });
  }

  function forget() {
    wanted = null; // another project
    looked = 0;
  }

  forge.onTold(take);
  setInterval(tick, 500);

  forge.train.live = { build, choose, follow, forget, target };
})();
