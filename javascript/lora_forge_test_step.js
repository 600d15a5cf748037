"use strict";
// The Test step, put together from its parts.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.test || forge.test.step) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { mount, part, put } = kit;
  const test = forge.test;

  let lastJob = null; // the board's, of which this page has seen the end
  let shownFor = "";

  function build(place) {
    test.place = place;
    test.line = part("div.lf-told", { hidden: true });
    test.forget();
    put(place, test.fields.build(), test.line, ...test.verdict.build(), ...test.grid.build());
    test.fields.draw();
    test.verdict.draw();
    test.grid.draw();
    reload();
  }

  const isOpen = () => ["test", "keep"].includes(kit.step());
  const wanted = () => `${kit.project()}:${kit.kind()}:${kit.language()}`;

  function reload() {
    shownFor = wanted();
    test.load();
  }

  // The test that the board works on is looked at, whoever started it.
  forge.onTold((told) => {
    if (!test.place) return;
    const isOver = !["waiting", "running", "stopping"].includes(told.state);
    const isNew = isOver && lastJob !== null && lastJob !== told.job; // short ones are never seen at work
    if (isOver || lastJob === null) lastJob = isOver ? told.job : told.job - 1;
    const { about } = told;
    if (!isNew || !about || !about.test || about.project !== kit.project() || !test.now().id) return;
    test.guarded(async () => {
      await test.refresh();
      await test.load();
    });
  });
  forge.onFiles(() => test.place && reload());

  // What was trained is to be tested, what was tested to be kept.
  test.on("form", () => {
    const { loras, tests } = test.form.told;
    const isTested = tests.some((one) => one.quality !== null);
    kit.suggest("test", isTested ? "keep" : loras.some((one) => one.is_of_project) ? "test" : "");
  });

  mount("#lora_forge_test .lf-test", build);
  kit.onStep(() => test.place && isOpen() && reload());
  setInterval(() => {
    if (!test.place || !forge.isVisible()) return;
    if (wanted() !== shownFor) reload();
    if (isOpen()) test.follow();
  }, 300);

  test.step = true;
})();
