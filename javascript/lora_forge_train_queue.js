"use strict";
// The Train step: runs that wait, runs that were, and several runs that differ in one setting.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.train || !forge.train.form || forge.train.queue) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { button, get, part, post, project, put } = kit;
  const train = forge.train;
  const { guarded, tell } = train;
  const SWEPT = ["learning_rate", "rank", "te_learning_rate", "repeats", "alpha", "optimizer", "schedule", "seed"];

  let ui = null;
  let told = { runs: [], queue: [], is_held: false };
  let asked = 0;

  const say = (key, values) => kit.say(ui.place, key, values);

  function build(place) {
    ui = { place, waiting: part("div", { id: "lora_forge_queue" }), runs: part("div", { id: "lora_forge_runs" }) };
    ui.all = part("input", { type: "checkbox", onchange: () => draw() });
    const title = part("h4", {}, say("runs_title"));
    const all = part("label.lf-field", {}, ui.all, part("span", {}, say("all_projects")));
    put(place, ui.waiting, part("section.lf-part", {}, part("div.lf-tools", {}, title, all), ui.runs));
    refresh();
  }

  // ------------------------------------------------------------------ asking

  const refresh = kit.newest(async () => {
    if (!ui) return;
    asked = Date.now();
    const answer = await get("runs", {}).catch(() => null); // the live panel says it when the program does not answer
    if (!answer) return;
    told = answer;
    draw();
  });

  function tick() {
    if (ui && forge.isVisible() && kit.step() === "train" && Date.now() - asked > 3000) refresh();
  }

  const same = (one, other) => one.project === other.project && one.name === other.name;
  const runOf = (wanted) => told.runs.find((one) => same(one, wanted)) || null;
  const newest = (name) => told.runs.find((one) => one.project === name && one.state !== "queued") || null;

  // ------------------------------------------------------------------ drawing

  function draw() {
    if (!ui) return; // its frame comes a moment later
    const mine = told.runs.filter((one) => one.state !== "queued" && (ui.all.checked || one.project === project()));
    const key = JSON.stringify([kit.language(), told.queue, told.is_held, mine.map((one) => ({ ...one, step: 0, window_mse: 0 }))]);
    if (ui.key !== key) {
      ui.key = key;
      drawQueue();
      put(ui.runs, ...(mine.length ? mine.slice(0, 50).map(runRow) : [part("p.lf-quiet", {}, say("no_runs"))]));
    }
    for (const run of mine.slice(0, 50)) {
      const place = ui.runs.querySelector(`[data-run="${CSS.escape(`${run.project}/${run.name}`)}"] .lf-progress`);
      if (place) place.textContent = progress(run);
    }
  }

  function drawQueue() {
    if (!told.queue.length) {
      put(ui.waiting);
      return;
    }
    const held = told.is_held
      ? part("div.lf-note.lf-warning", { role: "status" }, say("held"), " ", button(say("queue_go"), () => act("queue/go", {}), { id: "lora_forge_queue_go" }))
      : button(say("queue_hold"), () => act("queue/hold", {}), { title: say("queue_hold_hint") });
    put(
      ui.waiting,
      part(
        "section.lf-part",
        {},
        part("div.lf-tools", {}, part("h4", {}, say("queue_title", { count: told.queue.length })), told.is_held ? null : held),
        told.is_held ? held : null,
        part("ol.lf-queue", {}, ...told.queue.map(queueRow))
      )
    );
  }

  function queueRow(entry, index) {
    const small = (text, hint, onclick, isOff) => button(text, onclick, { title: say(hint), disabled: Boolean(isOff) });
    return part(
      "li",
      { data: { entry: entry.id } },
      part("b", {}, entry.name),
      ` ${entry.sentence} `,
      entry.problem ? part("span.lf-short", {}, entry.problem) : null,
      part(
        "span.lf-tools",
        {},
        small("↑", "queue_up", () => act("queue/move", { id: entry.id, index: index - 1 }), index === 0),
        small("↓", "queue_down", () => act("queue/move", { id: entry.id, index: index + 1 }), index === told.queue.length - 1),
        small(say("queue_edit"), "queue_edit_hint", () => edit(entry)),
        small(say("queue_duplicate"), "queue_duplicate_hint", () => act("queue/duplicate", { id: entry.id })),
        small(say("queue_remove"), "queue_remove_hint", () => act("queue/remove", { id: entry.id }))
      )
    );
  }

  function runRow(run) {
    return part(
      "div.lf-run-row",
      { data: { run: `${run.project}/${run.name}`, state: run.state } },
      button(run.name, () => train.live.choose(run), { title: say("show_run") }),
      ui.all.checked ? part("span.lf-quiet", {}, run.project) : null,
      part(`span.lf-run-state.lf-run-${run.state}`, {}, say(run.state)),
      part("span.lf-progress.lf-count"),
      part("span.lf-quiet", {}, when(run)),
      run.can_resume ? button(say("resume_run"), () => act("runs/resume", { project: run.project, name: run.name })) : null,
      button("✕", () => remove(run), { title: say("run_remove_hint"), disabled: ["running", "waiting", "paused", "stopping"].includes(run.state) })
    );
  }

  function progress(run) {
    const parts = [say("run_steps", { step: run.step, total: run.total || "?" })];
    if (run.files && run.files.length) parts.push(say("run_files", { count: run.files.length }));
    if (run.window_mse) parts.push(say("run_loss", { loss: run.window_mse.toFixed(4) }));
    return parts.join(" · ");
  }

  function when(run) {
    const at = run.ended_at || run.started_at;
    return at ? new Date(at * 1000).toLocaleString(kit.language() === "zh" ? "zh-CN" : undefined, { dateStyle: "short", timeStyle: "short" }) : "";
  }

  // ------------------------------------------------------------------ doing

  const act = (route, body) =>
    guarded(async () => {
      await post(route, body);
      tell("");
      await refresh();
    });

  const remove = (run) =>
    guarded(async () => {
      await post("runs/remove", { project: run.project, name: run.name });
      tell(say("run_removed", { name: run.name }));
      await refresh();
    });

  // The form takes the entry's settings; it leaves the queue until it is put there again.
  const edit = (entry) =>
    guarded(async () => {
      const settings = await get("runs/settings", { id: entry.id, project: entry.project, name: entry.name });
      if (train.editing) train.editing(entry, settings);
    });

  // ------------------------------------------------------------------ several at once

  function sweep() {
    if (!train.form.told) return; // there is no project to vary a setting of
    const dialog = forge.photos.openDialog(say("sweep_title"));
    dialog.classList.add("lf-sweep");
    const label = (key) => (train.byKey(key) || { label: key }).label;
    const key = part("select", { id: "lora_forge_sweep_key" }, ...SWEPT.filter((one) => train.byKey(one)).map((one) => part("option", { value: one }, label(one))));
    const values = part("input.lf-wide", { id: "lora_forge_sweep_values" });
    const line = part("div.lf-told", { hidden: true });
    const propose = () => (values.value = proposal(key.value).join(", "));
    key.addEventListener("change", propose);
    propose();
    const add = button(say("sweep_add"), () =>
      kit.guarded(line, async () => {
        const list = values.value.split(/[,\s，、]+/).filter(Boolean).map((one) => (Number.isFinite(Number(one)) ? Number(one) : one));
        const answer = await post("queue/sweep", { request: train.body({ queue: true }), key: key.value, values: list });
        dialog.close();
        tell(say("sweep_added", { count: answer.made.length }), "good");
        await refresh();
      })
    );
    add.classList.add("lf-primary");
    dialog.body.append(
      part("p.lf-quiet", {}, say("sweep_hint")),
      part("div.lf-tools", {}, part("label.lf-field", {}, part("span", {}, say("sweep_key")), key), part("label.lf-field.lf-wide", {}, part("span", {}, say("sweep_values")), values)),
      line,
      part("div.lf-tools", {}, add)
    );
  }

  // Around what the form says: half, the same, double.
  function proposal(key) {
    const now = train.current(key);
    const field = train.byKey(key);
    if (field.kind === "choice") return field.choices.map((one) => one.value).slice(0, 3);
    if (key === "seed") return [0, 1, 2];
    if (!now) return [1e-5, 5e-5, 1e-4];
    const around = [now / 2, now, now * 2];
    return field.kind === "int" ? [...new Set(around.map((one) => Math.max(1, Math.round(one))))] : around.map((one) => Number(one.toPrecision(3)));
  }

  setInterval(tick, 700);

  train.queue = { build, draw, newest, refresh, runOf, sweep };
})();
