"use strict";
// The next round: what to do after a test, one click each, and the rounds side by side.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.test || forge.test.rounds) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { button, get, part, post, project, put } = kit;
  const SCORES = ["identity", "obedience", "copying", "health"];
  const TRAINING = ["more_repeats", "fewer_repeats", "more_epochs"];

  let ui = null;
  let told = null;
  let key = "";

  const say = (word, values) => kit.say(ui.place, word, values);
  const refresh = kit.newest(look);
  const percent = (value) => `${Math.round(100 * value)} %`;

  function build(place) {
    ui = { place, advice: part("div.lf-advice"), line: part("div.lf-told", { hidden: true }), table: part("div.lf-rounds-scroll") };
    ui.rounds = part("section.lf-part", { hidden: true }, part("h4", {}, say("side_by_side")), ui.table);
    put(place, part("h3", {}, say("title")), ui.advice, ui.line, ui.rounds);
    key = "";
    refresh();
  }

  // ------------------------------------------------------------------ asking

  async function look() {
    const name = project();
    if (!ui || !name) return;
    const asked = { project: name, kind: kit.kind(), test: forge.test.now().id || undefined, language: kit.language() };
    await kit.guarded(ui.line, async () => {
      const answer = await get("rounds", asked);
      if (name === project() && asked.language === kit.language()) show(answer); // else it comes again
    });
  }

  function show(answer) {
    const now = JSON.stringify([kit.language(), project(), answer]);
    told = answer;
    if (now !== key) draw();
    key = now;
  }

  // ------------------------------------------------------------------ the advice

  function draw() {
    drawAdvice();
    drawRounds();
  }

  function drawAdvice() {
    const { advice } = told;
    if (!advice) {
      put(ui.advice, part("p.lf-quiet", {}, say("none")));
      return;
    }
    put(
      ui.advice,
      part("h4", {}, say("next"), part("small.lf-quiet", {}, ` ${told.name}, ${say("target", { target: percent(told.target) })}`)),
      part("div.lf-note", {}, advice.sentence),
      advice.evidence.length ? part("ul.lf-evidence", {}, ...advice.evidence.map((one) => part("li", {}, one))) : null,
      part("div.lf-choices", {}, ...advice.choices.map(cardOf))
    );
  }

  function cardOf(choice) {
    const act = actOf(choice);
    if (act && choice.is_advised) act.classList.add("lf-primary");
    return part(
      "article.lf-choice",
      { data: { choice: choice.id, advised: String(choice.is_advised) } },
      part("header", {}, part("b", {}, choice.label), choice.is_advised ? part("small", {}, say("advised")) : null),
      part("p", {}, choice.sentence),
      choice.note ? part("p.lf-quiet", {}, choice.note) : null,
      choice.photos.length ? part("div.lf-choice-photos", {}, ...choice.photos.slice(0, 6).map((one) => photoOf(one, choice))) : null,
      act
    );
  }

  function photoOf(photo, choice) {
    const src = kit.address("thumb", { project: project(), key: photo });
    const why = `${photo}: ${choice.reasons[photo]}`;
    return part("figure", { title: why }, part("img", { src, alt: photo, loading: "lazy" }), part("figcaption", {}, choice.reasons[photo]));
  }

  function actOf(choice) {
    if (TRAINING.includes(choice.id)) return button(say("begin"), (event) => begin(event.currentTarget, choice));
    if (choice.id === "earlier_epoch") return button(say("keep"), () => keep(choice.changes));
    return choice.photos.length ? button(say("look"), () => lookAt(choice.photos)) : null;
  }

  async function begin(pressed, choice) {
    pressed.disabled = true; // a second click is no second run
    await kit.guarded(ui.line, async () => {
      const done = await post("rounds/apply", { project: project(), kind: kit.kind(), choice: choice.id, test: told.test });
      kit.tell(ui.line, say(done.state === "queued" ? "queued" : "started", { name: done.name }), "good");
    });
    pressed.disabled = false;
    await refresh();
  }

  function keep(cell) {
    forge.test.choose({ name: told.name, ...cell });
    kit.chooseStep("keep");
  }

  function lookAt(keys) {
    kit.chooseStep("photos");
    forge.photos.wall.show(keys);
  }

  // ------------------------------------------------------------------ side by side

  function drawRounds() {
    const { rounds } = told;
    ui.rounds.hidden = !rounds.length;
    if (!rounds.length) return;
    const row = (label, cellOf, name) =>
      part("tr", name ? { data: { row: name } } : {}, part("th", { scope: "row" }, label), ...rounds.map((one) => part("td", {}, cellOf(one))));
    const shown = (value) => (value === null || value === undefined || value === "" ? "–" : String(value));
    const heads = rounds.map((one) => part("th", { scope: "col", data: { current: String(one.run === told.name) } }, one.name));
    put(
      ui.table,
      part(
        "table.lf-rounds-table",
        {},
        part("thead", {}, part("tr", {}, part("td"), ...heads)),
        part(
          "tbody",
          {},
          row(say("picture"), pictureOf, "picture"),
          row(say("best"), (one) => (one.epoch ? say("cell", one) : "–"), "best"),
          row(say("score"), (one) => (one.quality === null || one.quality === undefined ? "–" : scoreOf(one.quality)), "quality"),
          ...SCORES.filter((name) => rounds.some((one) => name in one.scores)).map((name) =>
            row(say(name), (one) => (name in one.scores ? percent(one.scores[name]) : "–"), name)
          ),
          row(say("steps"), (one) => shown(one.steps), "steps"),
          ...told.settings.map((field) => row(field.label, (one) => shown(one.values[field.key]), field.key)),
          row(say("diagnosis"), (one) => shown(one.diagnosis), "diagnosis")
        )
      )
    );
  }

  function scoreOf(quality) {
    return part("b", { data: { reached: String(quality >= told.target) } }, percent(quality));
  }

  function pictureOf(one) {
    if (one.picture) {
      const src = kit.address("picture", { path: one.picture, side: 256, v: one.made_at });
      const open = () => forge.test.choose({ name: one.name, id: one.test, epoch: one.epoch, strength: one.strength });
      return part("button.lf-round-picture", { type: "button", onclick: open, title: say("cell", one) }, part("img", { src, alt: one.name, loading: "lazy" }));
    }
    return part("span.lf-quiet", {}, say("untested"), " ", button(say("test_it"), () => forge.test.choose({ name: one.name })));
  }

  // ------------------------------------------------------------------ going on

  const soon = kit.debounce(200, refresh);
  const isShown = () => ui && kit.step() === "test";
  forge.test.on("chosen", () => isShown() && soon());
  forge.test.on("state", () => isShown() && soon());
  kit.onStep((name) => name === "test" && soon());
  kit.mount("#lora_forge_rounds .lf-rounds", build);
  forge.test.rounds = { refresh };
})();
