"use strict";
// One cell of the grid, large, beside a photo of the set, the recommended cell, or the checkpoint alone.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.test || forge.test.view) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { $, button, part, put } = kit;
  const test = forge.test;
  const { say } = test;

  const LARGE_PX = 1024;
  let beside = "photo:0";

  function view(epoch, strength) {
    const told = test.state();
    let key = test.keyOf(epoch, strength);
    const title = part("h4");
    const stage = part("div.lf-pair");
    const facts = part("div.lf-tools.lf-facts-line");
    const tabs = part("span.lf-tabs");
    const others = part("select", { onchange: () => ((beside = others.value), draw()) });
    const keep = button(say("keep_this"), () => (dialog.close(), test.keep(...cellOf(key))));
    keep.classList.add("lf-primary");
    const dialog = part(
      "dialog.lf-dialog.lf-cell-view",
      { tabIndex: -1 },
      part("div.lf-tools", {}, title, tabs, button("✕", () => dialog.close(), { title: say("close"), "aria-label": say("close") })),
      part(
        "div.lf-dialog-body",
        {},
        stage,
        facts,
        part("div.lf-tools", {}, keep, part("label.lf-field", {}, part("span", {}, say("beside")), others), part("span.lf-quiet", {}, say("keys_hint")))
      )
    );

    const cellOf = (one) => one.split(":").map(Number);
    const nameOf = (one) => (one === "0:0" ? say("baseline") : say("cell", { epoch: cellOf(one)[0], strength: cellOf(one)[1] }));
    const figure = (src, name) => part("figure", {}, part("img", { src, alt: name }), part("figcaption", {}, name));

    function picture(one) {
      const path = test.grid.pathOf(test.cell(...cellOf(one)));
      return path ? figure(test.grid.source(path, LARGE_PX), nameOf(one)) : part("figure", {}, part("figcaption", {}, say("not_drawn")));
    }

    function partner() {
      const [what, index] = beside.split(":");
      if (what === "photo" && told.photos[index] !== undefined) {
        const path = `${kit.project()}/images/${told.photos[index]}`;
        return figure(kit.address("picture", { path, side: LARGE_PX }), say("beside_photo", { number: Number(index) + 1 }));
      }
      if (what === "base") return picture("0:0");
      if (what === "best" && told.recommendation) return picture(test.keyOf(told.recommendation.epoch, told.recommendation.strength));
      return null;
    }

    function choices() {
      const made = told.photos.map((_, index) => [`photo:${index}`, say("beside_photo", { number: index + 1 })]);
      if (told.recommendation) made.push(["best", say("beside_best")]);
      return [...made, ["base", say("baseline")], ["nothing", say("beside_nothing")]];
    }

    function draw() {
      title.textContent = nameOf(key);
      keep.disabled = key === "0:0";
      put(stage, picture(key), partner());
      put(others, ...choices().map(([value, text]) => part("option", { value, selected: value === beside }, text)));
      drawTabs();
      drawFacts();
      if (dialog.open && !dialog.contains(document.activeElement)) dialog.focus(); // the tab that had it is a new one now
    }

    function drawTabs() {
      const made = told.prompts.map((one) => {
        const tab = part("button.lf-tab", { type: "button", title: one.prompt, onclick: () => (test.grid.turn({ prompt: one.id }), draw()) }, say(`view_${one.id}`));
        tab.setAttribute("aria-selected", String(one.id === test.grid.view.prompt));
        return tab;
      });
      put(tabs, ...(made.length > 1 ? made : []));
    }

    function drawFacts() {
      const cell = test.cell(...cellOf(key));
      const scores = (cell && cell.scores) || {};
      const lines = told.scores.map((one) => {
        const measure = scores[one.id];
        const text = measure ? say("score_line", { title: one.title, value: `${Math.round(100 * measure.mean)} %` }) : say("score_untold", { title: one.title });
        return part("span", { title: one.sentence }, text);
      });
      put(facts, ...lines);
    }

    dialog.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!way || event.target === others) return;
      key = test.beside(key, ...way);
      draw();
      event.preventDefault();
    });
    dialog.addEventListener("close", () => dialog.remove());
    draw();
    ($("#lora_forge") || document.body).append(dialog);
    dialog.showModal();
    return dialog;
  }

  test.view = view;
})();
