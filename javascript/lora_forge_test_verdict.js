"use strict";
// What the scores come to: the cell to keep and why, the diagnosis, and what can be done with the test.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.test || forge.test.verdict) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { button, part, post, put } = kit;
  const test = forge.test;
  const { say } = test;

  let ui = {};

  function build() {
    ui = {
      tests: part("select", { id: "lora_forge_tests", onchange: () => test.guarded(() => test.show(ui.tests.value)) }),
      tools: part("div.lf-tools"),
      bar: part("div.lf-bar", {}, part("i")),
      verdict: part("div", { id: "lora_forge_verdict" }),
    };
    ui.head = part("div.lf-tools.lf-part", {}, part("label.lf-field", {}, part("span", {}, say("tests")), ui.tests), ui.tools);
    return [ui.head, ui.bar, ui.verdict];
  }

  function drawTests() {
    const rows = (test.form.told && test.form.told.tests) || [];
    const { id } = test.now();
    const text = (row) => say("test_row", { name: row.name, when: when(row.made_at), state: stateOf(row) });
    put(ui.tests, ...rows.map((row) => part("option", { value: row.id, selected: row.id === id }, text(row))));
    ui.head.hidden = !rows.length;
  }

  const when = (made) => new Date(typeof made === "number" ? made * 1000 : made).toLocaleString(kit.language() === "zh" ? "zh-CN" : "en", { dateStyle: "short", timeStyle: "short" });
  const stateOf = (row) => (row.mode === "xyz" ? `${say("mode_xyz")}, ${say(`state_${row.state}`)}` : say(`state_${row.state}`));

  function draw() {
    drawTests();
    const told = test.state();
    ui.bar.hidden = !told || told.state !== "running";
    ui.verdict.hidden = ui.tools.hidden = !told;
    if (!told) return;
    ui.bar.firstChild.style.width = `${told.total ? (100 * told.done) / told.total : 0}%`;
    drawTools(told);
    drawVerdict(told);
  }

  // A button that was made anew under the pointer would not be pressed.
  function drawTools(told) {
    const key = JSON.stringify([kit.project(), told.id, told.state, told.state === "done" && told.done]);
    if (ui.toolsKey !== key) put(ui.tools, part("span.lf-count"), ...acts(told));
    ui.toolsKey = key;
    ui.tools.firstChild.textContent = say("progress", { done: told.done, total: told.total });
  }

  function acts(told) {
    const here = { project: kit.project(), id: told.id };
    const act = (key, route, after) => button(say(key), () => test.guarded(async () => after(await post(route, here))), { data: { act: key } });
    if (told.state === "running") {
      const stop = () =>
        test.guarded(async () => {
          await post("command", { command: "stop" });
          test.tell(say("stopping"));
        });
      return [button(say("stop"), stop, { title: say("stop_hint"), data: { act: "stop" } })];
    }
    const again = async () => {
      await test.load();
      await test.show(told.id);
    };
    const gone = async () => {
      await test.show("");
      await test.load();
      test.tell(say("removed"), "good");
    };
    const made = [];
    if (["stopped", "failed", "interrupted"].includes(told.state)) made.push(act("resume", "test/resume", again));
    if (told.state === "done" && told.mode === "smart" && told.done < whole(told)) made.push(act("finish", "test/finish", again));
    return [...made, act("remove", "test/remove", gone)];
  }

  // Cells of the full grid; strength 0 is one.
  const whole = (told) => 1 + told.epochs.length * told.strengths.filter((one) => one > 0).length;

  function drawVerdict(told) {
    const best = told.recommendation;
    if (!best) {
      put(ui.verdict, told.cells.length || test.state().done ? part("p.lf-quiet", {}, say("no_verdict")) : null, ...missing(told));
      return;
    }
    const kind = !best.is_usable ? "warning" : best.is_too_close ? "info" : "good";
    const tools = part(
      "div.lf-tools",
      {},
      primary(say("keep_cell", { epoch: best.epoch, strength: best.strength }), () => keep(best.epoch, best.strength)),
      button(say("enlarge_best"), () => test.view(best.epoch, best.strength))
    );
    tools.firstChild.id = "lora_forge_keep_best";
    tools.firstChild.disabled = !best.is_usable;
    put(
      ui.verdict,
      part("h4", {}, say("verdict"), best.is_too_close ? part("small.lf-quiet", {}, ` (${say("too_close")})`) : ""),
      part(`div.lf-note.lf-${kind}.lf-plan`, { role: "status" }, best.sentence),
      ...missing(told),
      tools,
      told.diagnosis ? diagnosis(told.diagnosis) : null
    );
  }

  const missing = (told) =>
    (told.missing || []).map((one) => part("p.lf-quiet", { data: { score: one.score } }, say("judge_missing", { titles: one.title }), " ", one.sentence));

  function diagnosis(told) {
    return part(
      "div.lf-diagnosis",
      { data: { kind: told.kind } },
      part("h4", {}, say("diagnosis")),
      part("p", {}, told.sentence),
      part("ul", {}, ...told.evidence.map((one) => part("li", {}, one)))
    );
  }

  function primary(text, act) {
    const made = button(text, act);
    made.classList.add("lf-primary");
    return made;
  }

  function keep(epoch, strength) {
    test.choose({ epoch, strength });
    kit.chooseStep("keep");
  }

  test.keep = keep;
  test.verdict = { build, draw };
  test.on("form", () => test.place && draw());
  test.on("state", () => test.place && draw());
})();
