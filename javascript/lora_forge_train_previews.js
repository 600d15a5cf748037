"use strict";
// The strip of previews: what the run draws along the way, the newest first. Only the steps in sight are in the page.
// A picture opens large; two steps that are ticked are compared with a slider (lora_forge_train_compare.js).

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.kit || (forge.train && forge.train.strip)) return; // the host's Reload UI loads this file again
  forge.train = forge.train || {};
  const kit = forge.kit;
  const { button, get, part } = kit;

  const GAP = 8;
  const HEAD = 30; // px of a step's number
  const LABEL = 24; // px of a prompt
  const WITHOUT = "0"; // the column without the LoRA
  const BASE = "base"; // what is ticked of it: it belongs to no step
  const MOST = 2; // steps that are compared

  const picture = (shot, column, side) => kit.address("picture", { path: shot.pictures[column], side, v: shot.stamps[column] });

  function strip(place) {
    const say = (key, values) => kit.say(place, key, values);
    let run = null;
    let shots = []; // steps, newest first
    let columns = []; // of each row: its column and prompt
    let ticked = []; // steps, or BASE, in the order they were ticked
    let cursor = null; // a step
    let row = 0;
    let waiting = 0;
    const tiles = new Map(); // by step

    // ---------------------------------------------------------------- elements

    const count = part("span.lf-count");
    const compare = button(say("strip_compare"), () => openTwo(), { disabled: true });
    const hint = part("span.lf-quiet.lf-strip-hint", {}, say("strip_hint"));
    const head = part("div.lf-tools.lf-strip-head", {}, part("h4", {}, say("strip_label")), count, hint, compare);
    const empty = part("p.lf-quiet", {}, say("strip_empty"));
    const pane = part("div.lf-strip-base", { hidden: true });
    const canvas = part("div.lf-strip-canvas");
    const scroller = part("div.lf-strip-scroll", { tabIndex: 0, onscroll: later, onkeydown: onKey }, canvas);
    scroller.setAttribute("role", "listbox");
    scroller.setAttribute("aria-multiselectable", "true");
    scroller.setAttribute("aria-label", `${say("strip_label")}. ${say("strip_hint")}`);
    const body = part("div.lf-strip-body", { hidden: true }, pane, scroller);
    const line = part("div.lf-told", { hidden: true });
    const element = part("div.lf-strip", {}, head, empty, body, line);
    new ResizeObserver(later).observe(scroller);
    strip.made = (strip.made || 0) + 1;
    const number = strip.made;

    // ---------------------------------------------------------------- data

    function show(target) {
      if (run && target && run.project === target.project && run.name === target.name) return update();
      [run, shots, columns, ticked, cursor, row] = [target, [], [], [], null, 0];
      scroller.scrollLeft = 0;
      draw();
      return update();
    }

    const update = kit.newest(fetchNew);

    async function fetchNew() {
      const asked = run;
      if (!asked) return;
      try {
        const answer = await get("runs/previews", asked);
        if (asked !== run) return; // it was asked for too
        take(answer);
        if (!line.hidden) kit.tell(line, "");
      } catch (problem) {
        if (problem.status !== 0) kit.tell(line, problem.message || String(problem), "error"); // the live panel says it when the program is away
      }
    }

    function take(answer) {
      const key = JSON.stringify(answer);
      if (key === take.key && shots.length) return;
      take.key = key;
      const newest = shots.length ? shots[0].step : null;
      shots = answer.steps;
      columns = answer.columns.filter((one) => String(one.column) !== WITHOUT);
      const added = newest === null ? 0 : shots.findIndex((shot) => shot.step === newest);
      if (scroller.scrollLeft > 0 && added > 0) scroller.scrollLeft += added * (width() + GAP); // what is looked at stays
      ticked = ticked.filter((one) => one === BASE || shots.some((shot) => shot.step === one));
      if (!shots.some((shot) => shot.step === cursor)) cursor = null;
      draw();
    }

    const base = () => shots.find((shot) => shot.pictures[WITHOUT]);
    const bare = () => columns.length === 0; // nothing but the picture without the LoRA so far

    // ---------------------------------------------------------------- drawing

    // On a phone three steps and the picture without the LoRA fit side by side.
    const width = () => (element.clientWidth < 560 ? 92 : 136);

    function later() {
      if (!waiting) waiting = requestAnimationFrame(draw);
    }

    function draw() {
      waiting = 0;
      const [w, hasAny] = [width(), shots.length > 0];
      empty.hidden = hasAny;
      body.hidden = compare.hidden = hint.hidden = !hasAny;
      count.textContent = hasAny ? String(shots.length) : "";
      element.style.setProperty("--lf-shot", `${w}px`);
      drawBase();
      drawCompare();
      const rows = bare() ? [] : columns;
      canvas.style.width = `${shots.length * (w + GAP)}px`;
      canvas.style.height = `${HEAD + rows.length * (LABEL + w)}px`;
      drawLabels(rows, w);
      drawShots(rows, w);
    }

    function drawBase() {
      const shot = base();
      pane.hidden = !shot;
      if (!shot) return;
      const key = `${shot.pictures[WITHOUT]}:${shot.stamps[WITHOUT]}`;
      if (pane.dataset.key !== key) {
        pane.dataset.key = key;
        pane.replaceChildren(
          tick(BASE, say("strip_without")),
          part("div.lf-strip-label"),
          image(shot, WITHOUT, say("strip_without"), () => open({ step: BASE, row })),
          part("p.lf-quiet", {}, say("strip_same"))
        );
      }
      pane.querySelector("input").checked = ticked.includes(BASE);
    }

    function drawCompare() {
      compare.disabled = ticked.length < MOST;
      const [left, right] = ordered();
      compare.textContent = compare.disabled ? say("strip_compare") : say("strip_compare_two", { left: nameOf(left), right: nameOf(right) });
    }

    function drawLabels(rows, w) {
      const key = JSON.stringify([rows, w]);
      if (drawLabels.key === key) return;
      drawLabels.key = key;
      for (const old of canvas.querySelectorAll(".lf-strip-label")) old.remove();
      canvas.prepend(
        ...rows.map((one, at) => {
          const made = part("div.lf-strip-label", { title: one.prompt }, part("span", {}, one.prompt || say("strip_prompt", { number: one.column })));
          made.style.top = `${HEAD + at * (LABEL + w)}px`;
          return made;
        })
      );
      for (const tile of tiles.values()) tile.remove();
      tiles.clear();
    }

    function drawShots(rows, w) {
      const wide = w + GAP;
      const first = Math.max(0, Math.floor(scroller.scrollLeft / wide) - 2);
      const last = Math.ceil((scroller.scrollLeft + scroller.clientWidth) / wide) + 2;
      const seen = new Map(shots.slice(first, last).map((shot, at) => [shot.step, [shot, first + at]]));
      for (const [step, tile] of tiles) {
        if (!seen.has(step)) {
          tile.remove();
          tiles.delete(step);
        }
      }
      for (const [step, [shot, at]] of seen) {
        const key = JSON.stringify([shot.pictures, shot.stamps]);
        let tile = tiles.get(step);
        if (!tile || tile.dataset.key !== key) {
          const made = shotTile(shot, rows, key);
          if (tile) tile.replaceWith(made);
          else canvas.append(made);
          tiles.set(step, (tile = made));
        }
        tile.style.left = `${at * wide}px`;
        tile.classList.toggle("lf-newest", at === 0);
        tile.setAttribute("aria-selected", String(ticked.includes(step)));
        tile.querySelector("input").checked = ticked.includes(step);
        tile.querySelectorAll(".lf-shot-picture").forEach((one) => one.classList.toggle("lf-cursor", step === cursor && Number(one.dataset.row) === row));
      }
      if (cursor !== null && tiles.has(cursor)) scroller.setAttribute("aria-activedescendant", tiles.get(cursor).id);
      else scroller.removeAttribute("aria-activedescendant");
    }

    function shotTile(shot, rows, key) {
      const made = part("div.lf-shot", { id: `lf-shot-${number}-${shot.step}`, data: { key, step: shot.step } }, tick(shot.step, forge.train.plot.wholeText(shot.step)));
      made.setAttribute("role", "option");
      made.setAttribute("aria-label", nameOf(shot.step));
      made.querySelector("label").append(part("em", {}, say("strip_newest")));
      rows.forEach((one, at) => {
        const column = String(one.column);
        const isThere = Boolean(shot.pictures[column]);
        const picture = isThere ? image(shot, column, `${nameOf(shot.step)}: ${shot.prompts[column]}`, () => open({ step: shot.step, row: at })) : part("span.lf-shot-picture");
        picture.dataset.row = at;
        picture.style.top = `${HEAD + LABEL + at * (LABEL + width())}px`;
        made.append(picture);
      });
      return made;
    }

    function image(shot, column, title, onclick) {
      const img = part("img", { src: picture(shot, column, 256), alt: title, loading: "lazy", decoding: "async", draggable: false });
      return part("button.lf-shot-picture", { type: "button", tabIndex: -1, title, onclick }, img);
    }

    // ---------------------------------------------------------------- ticking, and two to compare

    function tick(step, text) {
      const box = part("input", { type: "checkbox", tabIndex: step === BASE ? 0 : -1, title: say("strip_choose"), onchange: () => toggle(step) });
      return part("label.lf-shot-name", {}, box, part("b", {}, text));
    }

    function toggle(step) {
      ticked = ticked.includes(step) ? ticked.filter((one) => one !== step) : [...ticked, step].slice(-MOST);
      draw();
    }

    // The earlier one on the left, as time goes; without the LoRA before all.
    const ordered = () => [...ticked].sort((one, other) => (one === BASE ? -1 : one) - (other === BASE ? -1 : other));
    const nameOf = (step) => (step === BASE ? say("strip_without") : step === undefined ? "" : say("strip_step", { step }));

    function openTwo() {
      if (ticked.length < MOST) return;
      const [left, right] = ordered();
      open({ step: right, against: left, row });
    }

    function open(wanted) {
      forge.train.compare({ say, element, shots, columns, nameOf, picture, base: base(), BASE, WITHOUT }, wanted);
    }

    // ---------------------------------------------------------------- keys

    function onKey(event) {
      if (event.target !== scroller || event.ctrlKey || event.metaKey || event.altKey) return;
      const at = shots.findIndex((shot) => shot.step === cursor);
      const acts = {
        ArrowRight: () => go(at + 1),
        ArrowLeft: () => go(Math.max(0, at - 1)),
        Home: () => go(0),
        End: () => go(shots.length - 1),
        ArrowDown: () => (row = Math.min(Math.max(0, columns.length - 1), row + 1)),
        ArrowUp: () => (row = Math.max(0, row - 1)),
        Enter: () => cursor !== null && open({ step: cursor, row }),
        " ": () => cursor !== null && toggle(cursor),
        c: openTwo,
      };
      if (!acts[event.key] || !shots.length) return;
      acts[event.key]();
      draw();
      event.preventDefault();
      event.stopPropagation(); // the hosts have keys of their own
    }

    function go(index) {
      const at = Math.max(0, Math.min(shots.length - 1, index));
      cursor = shots[at].step;
      const wide = width() + GAP;
      if (at * wide < scroller.scrollLeft) scroller.scrollLeft = at * wide;
      const right = (at + 1) * wide - GAP - scroller.clientWidth;
      if (right > scroller.scrollLeft) scroller.scrollLeft = right;
    }

    return { element, show, update };
  }

  forge.train.strip = strip;
})();
