"use strict";
// The Train step: the test firing: two real steps and one preview before the run, and the way down where it does not fit.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.train || !forge.train.form || forge.train.trial) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { button, get, part, post, project, put } = kit;
  const train = forge.train;
  const { guarded, say, tell } = train;

  let ui = {};

  function build() {
    ui.result = part("div.lf-trial", { id: "lora_forge_trial_result" });
    return ui.result;
  }

  const start = () =>
    guarded(async () => {
      await post("train/trial", train.body());
      tell(say("trial_started"));
    });

  const load = kit.newest(async () => {
    if (!ui.result) return;
    const name = project();
    const told = name ? await get("train/trial", { project: name }).catch(() => null) : null;
    if (name === project()) draw(told && told.made_at ? told : null); // else whoever chose another one asks again
  });

  function draw(told) {
    if (!told) return put(ui.result);
    const fits = told.fits && !told.failed_at;
    const rows = (told.ladder || []).map((rung) =>
      part("li", { data: { rung: rung.id } }, part("span", {}, rung.sentence), " ", button(say("apply"), () => apply(rung)))
    );
    return put(
      ui.result,
      part(
        `div.lf-note.${fits ? "lf-good" : "lf-warning"}`,
        { role: "status" },
        part("b", {}, say("trial")),
        ` ${told.sentence}`,
        told.is_stale ? part("span.lf-quiet", {}, ` ${say("trial_stale")}`) : null
      ),
      !fits && rows.length ? part("div", {}, part("p.lf-quiet", {}, say("ladder")), part("ol.lf-ladder", {}, ...rows)) : null
    );
  }

  function apply(rung) {
    for (const [key, value] of Object.entries(rung.changes)) train.set(key, value);
    train.fields.refresh();
    tell(say("applied", { sentence: rung.sentence }), "good");
    load();
  }

  train.trial = { build, load, start };
})();
