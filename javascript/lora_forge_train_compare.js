"use strict";
// One preview, large; or two of them, one over the other, with a slider where they meet.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.kit || (forge.train && forge.train.compare)) return; // the host's Reload UI loads this file again
  forge.train = forge.train || {};
  const { button, part, put } = forge.kit;

  const LARGE_PX = 1536;
  const ALONE = "";

  // `strip`: its steps and words; `wanted`: the step, the row, and perhaps the step on the left.
  function compare(strip, wanted) {
    const { say, shots, nameOf, BASE, WITHOUT } = strip;
    let { step, row } = wanted;
    let against = wanted.against === undefined ? ALONE : wanted.against;
    let share = 50; // percent of the width that belongs to the left one

    const title = part("h4");
    const caption = part("p.lf-quiet.lf-compare-prompt");
    const rows = part("div.lf-tabs");
    const stage = part("div.lf-compare-stage");
    const older = button(`${say("strip_older")} ▶`, () => walk(1));
    const newer = button(`◀ ${say("strip_newer")}`, () => walk(-1));
    const others = part("select", { onchange: () => choose(others.value) });
    const dialog = part(
      "dialog.lf-dialog.lf-compare",
      { "aria-label": say("strip_label") },
      part("div.lf-tools", {}, title, button("✕", () => dialog.close(), { "aria-label": say("strip_close"), title: say("strip_close") })),
      part(
        "div.lf-dialog-body",
        {},
        rows,
        stage,
        caption,
        part("div.lf-tools.lf-compare-tools", {}, newer, older, part("label.lf-field", {}, say("strip_with"), others))
      )
    );

    const shotOf = (one) => (one === BASE ? strip.base : shots.find((shot) => shot.step === one));
    const columnOf = (one) => (one === BASE ? WITHOUT : String((strip.columns[row] || { column: WITHOUT }).column));
    const at = () => shots.findIndex((shot) => shot.step === step);
    const hasPicture = (one) => Boolean(shotOf(one) && shotOf(one).pictures[columnOf(one)]);

    function choose(value) {
      against = value === ALONE || value === BASE ? value : Number(value);
      draw();
    }

    function walk(way) {
      const next = shots[step === BASE ? 0 : at() + way];
      if (!next) return;
      step = next.step;
      if (against === step) against = ALONE;
      draw();
    }

    // ---------------------------------------------------------------- drawing

    function draw() {
      const isTwo = against !== ALONE && hasPicture(against);
      title.textContent = isTwo ? `${nameOf(against)} | ${nameOf(step)}` : nameOf(step);
      newer.disabled = step === BASE ? true : at() <= 0;
      older.disabled = step === BASE ? true : at() >= shots.length - 1;
      drawRows();
      drawChoice();
      const shot = shotOf(step);
      caption.textContent = (shot && shot.prompts[columnOf(step)]) || "";
      caption.hidden = !rows.hidden && caption.textContent.length < 36; // its tab says all of it
      put(stage, ...(isTwo ? two() : [img(step)]));
    }

    function drawRows() {
      rows.hidden = strip.columns.length < 2 || step === BASE;
      const made = strip.columns.map((one, index) => {
        const tab = part("button.lf-tab", { type: "button", title: one.prompt, onclick: () => ((row = index), draw()) }, one.prompt || say("strip_prompt", { number: one.column }));
        tab.setAttribute("aria-selected", String(index === row));
        return tab;
      });
      put(rows, ...made);
    }

    function drawChoice() {
      const choices = [[ALONE, say("strip_alone")]];
      if (strip.base && step !== BASE) choices.push([BASE, nameOf(BASE)]);
      for (const shot of shots) if (shot.step !== step) choices.push([shot.step, nameOf(shot.step)]);
      put(others, ...choices.map(([value, text]) => part("option", { value: String(value), selected: value === against }, text)));
    }

    function img(one) {
      const shot = shotOf(one);
      if (!hasPicture(one)) return part("span.lf-compare-gone");
      const made = part("img", { src: strip.picture(shot, columnOf(one), LARGE_PX), alt: nameOf(one), draggable: false });
      // small pictures are shown large too; what a photo's shape is shows when it has come
      made.addEventListener("load", () => stage.style.setProperty("--lf-shape", made.naturalWidth / made.naturalHeight));
      return made;
    }

    // The left one lies over the right one, and is cut where the slider stands.
    function two() {
      const over = img(against);
      const bar = part("i.lf-compare-bar");
      const slider = part("input.lf-compare-slider", { type: "range", min: 0, max: 100, step: 0.5, value: share });
      slider.setAttribute("aria-label", say("strip_slider"));
      const names = [against, step].map((one, side) => part(`span.lf-compare-name.lf-${side ? "right" : "left"}`, {}, nameOf(one)));
      const place = () => {
        share = Number(slider.value);
        over.style.clipPath = `inset(0 ${100 - share}% 0 0)`;
        bar.style.left = `${share}%`;
        names[0].style.opacity = share > 12 ? 1 : 0;
        names[1].style.opacity = share < 88 ? 1 : 0;
      };
      slider.addEventListener("input", place);
      place();
      setTimeout(() => slider.isConnected && slider.focus({ preventScroll: true }));
      return [img(step), over, bar, ...names, slider];
    }

    dialog.addEventListener("keydown", (event) => {
      if (event.target.matches("input[type=range]") || event.target === others) return; // they have arrows of their own
      const acts = { ArrowLeft: () => walk(-1), ArrowRight: () => walk(1), ArrowDown: () => turn(1), ArrowUp: () => turn(-1) };
      if (!acts[event.key]) return;
      acts[event.key]();
      event.preventDefault();
      event.stopPropagation();
    });
    const turn = (way) => {
      row = Math.max(0, Math.min(strip.columns.length - 1, row + way));
      draw();
    };
    dialog.addEventListener("close", () => dialog.remove());
    draw();
    (strip.element.closest("#lora_forge") || document.body).append(dialog);
    dialog.showModal();
    return dialog;
  }

  forge.train.compare = compare;
})();
