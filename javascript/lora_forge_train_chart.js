"use strict";
// The loss chart of a run: its legend, and what the pointer and the keys do. Its data are in lora_forge_train_series.js,
// what is drawn in lora_forge_train_plot.js.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.kit || (forge.train && forge.train.chart)) return; // the host's Reload UI loads this file again
  forge.train = forge.train || {};
  const kit = forge.kit;
  const { button, part } = kit;

  const KEPT_LINES = "lora_forge_chart_lines";
  // The page's colours change with a class of its body or with the system.
  const redraws = new WeakMap();
  const redraw = () => {
    for (const element of document.querySelectorAll(".lf-chart")) if (redraws.has(element)) redraws.get(element)();
  };
  let isWatching = false;

  function watchColours() {
    if (isWatching) return;
    isWatching = true;
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    new MutationObserver(redraw).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  }

  function chart(place) {
    const plot = forge.train.plot;
    const say = (key, values) => kit.say(place, key, values);
    let cursor = null; // the step whose values are shown
    let drag = null; // px where a drag began, and where it is
    let frame = null;
    let waiting = 0;
    const shown = keptLines(plot.LINES);

    // ---------------------------------------------------------------- elements

    const canvas = part("canvas");
    const over = part("canvas", { tabIndex: 0 });
    over.setAttribute("role", "img");
    const tip = part("div.lf-chart-tip", { hidden: true });
    const empty = part("p.lf-chart-empty", {}, say("chart_empty"));
    const stage = part("div.lf-chart-stage", {}, canvas, over, empty, tip);
    const whole = button(say("chart_whole"), () => look(null), { hidden: true });
    const legend = part("div.lf-chart-legend");
    const chips = new Map(plot.LINES.map((name) => [name, chip(name)]));
    const foot = part("p.lf-quiet.lf-chart-foot", {}, part("span", {}, say("chart_steps")), part("span", {}, say("chart_hint")));
    const line = part("div.lf-told", { hidden: true });
    const probe = part("i.lf-chart-probe");
    legend.append(...chips.values(), whole);
    const element = part("div.lf-chart", { hidden: false }, legend, stage, foot, line, probe);

    function chip(name) {
      const made = part(
        "button.lf-chart-key",
        { type: "button", title: say(`chart_${name}_hint`), onclick: () => toggle(name), data: { line: name } },
        part("i"),
        part("span", {}, say(`chart_${name}`)),
        part("b")
      );
      made.setAttribute("aria-pressed", String(shown.has(name)));
      return made;
    }

    function toggle(name) {
      if (!shown.delete(name)) shown.add(name);
      chips.get(name).setAttribute("aria-pressed", String(shown.has(name)));
      keepLines(shown);
      later();
    }

    const pointsWanted = () => Math.max(400, Math.min(2400, 2 * Math.round(stage.clientWidth)));
    const lines = forge.train.series(pointsWanted, later, told);
    const { bounds, drawn, inSight, look } = lines;

    function told(problem) {
      if (!problem) return void (line.hidden || kit.tell(line, ""));
      if (problem.status !== 0) kit.tell(line, problem.message || String(problem), "error"); // the live panel says it when the program is away
      if (!(problem instanceof kit.Refused)) console.error(problem);
    }

    function show(target) {
      [cursor, drag] = [null, null];
      return lines.show(target);
    }

    // ---------------------------------------------------------------- drawing

    function later() {
      if (!waiting) waiting = requestAnimationFrame(draw);
    }

    function draw() {
      waiting = 0;
      const size = { width: stage.clientWidth, height: stage.clientHeight };
      if (!size.width || !size.height) return; // the step is not in sight
      whole.hidden = !lines.isZoomed();
      const data = lines.whole();
      const hasSteps = data.steps.length > 0;
      empty.hidden = hasSteps;
      element.classList.toggle("lf-chart-blank", !hasSteps);
      sayNow(data);
      const pen = fit(canvas, size);
      if (!hasSteps) {
        fit(over, size);
        [frame, tip.hidden] = [null, true];
        return;
      }
      frame = plot.layout(drawn(), shown, inSight(), size);
      plot.paint(pen, drawn(), shown, frame, colours(), { band: say("chart_band") });
      drawOver();
    }

    // Colours as the page has them now: light and dark follow the host.
    function colours() {
      const of = (node, name) => getComputedStyle(node)[name];
      const key = (name) => of(chips.get(name).firstChild, "backgroundColor");
      return {
        ...Object.fromEntries(plot.LINES.map((name) => [name, key(name)])),
        band: of(probe, "backgroundColor"),
        good: of(probe, "color"),
        grid: of(probe, "borderTopColor"),
        ground: of(probe, "borderBottomColor"),
        quiet: of(foot, "color"),
        ink: of(element, "color"),
        font: of(element, "fontFamily"),
      };
    }

    function fit(one, size) {
      const scale = window.devicePixelRatio || 1;
      const [width, height] = [Math.round(size.width * scale), Math.round(size.height * scale)];
      if (one.width !== width || one.height !== height) [one.width, one.height] = [width, height];
      const pen = one.getContext("2d");
      pen.setTransform(scale, 0, 0, scale, 0, 0);
      pen.clearRect(0, 0, size.width, size.height);
      return pen;
    }

    // The newest values stand in the legend, and in words for those who don't see the lines.
    function sayNow(data) {
      const newest = (name) => (name === "validation" ? (data.validation.slice(-1)[0] || [])[1] : data[name][data.steps.length - 1]);
      for (const [name, made] of chips) {
        const text = valueText(name, newest(name));
        if (made.lastChild.textContent !== text) made.lastChild.textContent = text;
      }
      const all = [...shown].map((name) => `${say(`chart_${name}`)} ${valueText(name, newest(name))}`);
      const text = `${say("chart_label")}. ${data.last ? `${say("chart_step", { step: data.last })}: ${all.join("; ")}` : say("chart_empty")}`;
      if (over.getAttribute("aria-label") !== text) over.setAttribute("aria-label", text);
    }

    function valueText(name, value) {
      if (value === null || value === undefined) return "";
      return name === "learning_rate" ? plot.rateText(value) : value.toFixed(4);
    }

    // ---------------------------------------------------------------- the pointer and the keys

    function drawOver() {
      if (!frame) return;
      const size = { width: stage.clientWidth, height: stage.clientHeight };
      const pen = fit(over, size);
      const colour = colours();
      if (drag && Math.abs(drag.now - drag.start) > 3) {
        const [left, right] = [Math.min(drag.start, drag.now), Math.max(drag.start, drag.now)];
        pen.globalAlpha = 0.14;
        pen.fillStyle = colour.window_mse;
        pen.fillRect(left, frame.area.top, right - left, frame.area.bottom - frame.area.top);
        pen.globalAlpha = 1;
        pen.strokeStyle = colour.window_mse;
        for (const px of [left, right]) plot.line(pen, plot.crisp(px), frame.area.top, plot.crisp(px), frame.area.bottom);
      }
      const held = drawn();
      const at = cursor === null ? -1 : plot.nearest(held.steps, cursor);
      const step = held.steps[at];
      tip.hidden = at < 0 || step < inSight()[0] || step > inSight()[1];
      if (tip.hidden) return;
      const px = frame.x(step);
      pen.strokeStyle = colour.quiet;
      pen.setLineDash([3, 3]);
      plot.line(pen, plot.crisp(px), frame.area.top, plot.crisp(px), frame.area.bottom);
      pen.setLineDash([]);
      if (drag && drag.now !== drag.start) tip.hidden = true; // it would lie over what is chosen
      const values = valuesAt(held, at);
      for (const [name, value] of [...values].reverse()) {
        const level = name === "learning_rate" ? frame.rate(value) : frame.y(value);
        if (name === "validation" || level < frame.area.top - 1 || level > frame.area.bottom + 1) continue;
        pen.fillStyle = colour[name];
        plot.dot(pen, px, level, 4, colour.ground);
      }
      showTip(step, values, px, size);
    }

    // The lines' values at a step; of the validation loss the last one until then.
    function valuesAt(held, at) {
      const step = held.steps[at];
      const before = held.validation.filter((pair) => pair[0] <= step).slice(-1)[0];
      const all = plot.LINES.map((name) => [name, name === "validation" ? before && before[1] : held[name][at]]);
      return all.filter(([name, value]) => shown.has(name) && value !== null && value !== undefined);
    }

    function showTip(step, values, px, size) {
      const length = lines.whole().steps_per_epoch;
      const at = { step: plot.wholeText(step), epoch: length ? Math.floor((step - 1) / length) + 1 : "" };
      const rows = values.map(([name, value]) =>
        part("div", { data: { line: name } }, part("i"), part("span", {}, say(`chart_${name}`)), part("b", {}, valueText(name, value)))
      );
      tip.replaceChildren(part("strong", {}, say(length ? "chart_at" : "chart_step", at)), ...rows);
      const isRight = px > size.width / 2;
      tip.style.left = isRight ? "" : `${px + 14}px`;
      tip.style.right = isRight ? `${size.width - px + 14}px` : "";
    }

    const overLater = (() => {
      let asked = 0;
      return () => {
        if (asked) return;
        asked = requestAnimationFrame(() => {
          asked = 0;
          drawOver();
        });
      };
    })();

    const pxOf = (event) => {
      const px = event.clientX - over.getBoundingClientRect().left;
      return frame ? Math.max(frame.area.left, Math.min(frame.area.right, px)) : px;
    };

    over.addEventListener("pointerdown", (event) => {
      if (event.button || !frame) return;
      over.setPointerCapture(event.pointerId);
      drag = { start: pxOf(event), now: pxOf(event) };
    });
    over.addEventListener("pointermove", (event) => {
      if (!frame) return;
      if (drag) drag.now = pxOf(event);
      cursor = frame.step(pxOf(event));
      overLater();
    });
    over.addEventListener("pointerup", (event) => {
      if (!drag) return;
      const [left, right] = [Math.min(drag.start, pxOf(event)), Math.max(drag.start, pxOf(event))];
      drag = null;
      if (right - left > 8) look([frame.step(left), frame.step(right)]);
      cursor = frame.step(pxOf(event)); // a tap shows the values
      overLater();
    });
    const away = () => {
      [drag, cursor] = [null, null];
      overLater();
    };
    over.addEventListener("pointercancel", away);
    over.addEventListener("pointerleave", (event) => {
      if (!drag && event.pointerType === "mouse") away();
    });
    over.addEventListener("blur", away);
    over.addEventListener("dblclick", () => look(null));
    over.addEventListener("keydown", (event) => {
      if (!frame || event.ctrlKey || event.metaKey || event.altKey) return;
      const [from, to] = inSight();
      const at = cursor === null ? to : Math.max(from, Math.min(to, cursor));
      const by = (to - from) * (event.shiftKey ? 0.1 : 0.01);
      const acts = {
        ArrowLeft: () => walk(at - Math.max(1, by)),
        ArrowRight: () => walk(at + Math.max(1, by)),
        Home: () => walk(bounds()[0]),
        End: () => walk(bounds()[1]),
        "+": () => look([at - (at - from) / 2, at + (to - at) / 2]),
        "=": () => look([at - (at - from) / 2, at + (to - at) / 2]),
        "-": () => look([at - (at - from) * 2, at + (to - at) * 2]),
        Escape: () => look(null),
      };
      if (!acts[event.key] || (event.key === "Escape" && !lines.isZoomed())) return;
      acts[event.key]();
      event.preventDefault();
      event.stopPropagation(); // the hosts have keys of their own
    });

    // What is zoomed into follows the cursor.
    function walk(step) {
      const [first, last] = bounds();
      cursor = Math.max(first, Math.min(last, step));
      const [from, to] = inSight();
      if (cursor < from) look([cursor, cursor + to - from]);
      if (cursor > to) look([cursor - to + from, cursor]);
      overLater();
    }

    new ResizeObserver(later).observe(stage);
    redraws.set(element, later);
    watchColours();
    return { element, show, update: lines.update };
  }

  // ------------------------------------------------------------------ which lines are shown

  function keptLines(lines) {
    try {
      const kept = JSON.parse(window.localStorage.getItem(KEPT_LINES));
      if (Array.isArray(kept)) return new Set(lines.filter((name) => kept.includes(name)));
    } catch (_) {
      // a browser that keeps nothing
    }
    return new Set(lines.filter((name) => name !== "loss")); // single steps jump too much to be looked at first
  }

  function keepLines(shown) {
    try {
      window.localStorage.setItem(KEPT_LINES, JSON.stringify([...shown]));
    } catch (_) {
      // nothing is kept
    }
  }

  forge.train.chart = chart;
})();
