"use strict";
// The loss chart, what is drawn: round ticks, how far the axes reach, and the lines on a canvas. It asks nobody and keeps
// nothing, so that it can be drawn as often as a pointer moves.

(() => {
  const forge = window.loraForge;
  if (!forge || (forge.train && forge.train.plot)) return; // the host's Reload UI loads this file again
  forge.train = forge.train || {};

  const BAND = [0.07, 0.09];
  const LINES = ["window_mse", "objective", "validation", "learning_rate", "loss"];

  // ------------------------------------------------------------------ numbers

  // Round values from `low` to `high`, about `count` of them: steps of 1, 2 or 5 times a power of ten.
  function ticks(low, high, count) {
    const rough = (high - low) / Math.max(1, count);
    if (!(rough > 0) || !Number.isFinite(rough)) return [low];
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((one) => one * power >= rough * 0.999);
    const first = Math.ceil(low / step - 1e-9);
    const made = [];
    for (let at = first; at * step <= high + step * 1e-9; at += 1) made.push(Number((at * step).toPrecision(12)));
    return made;
  }

  // As many digits as neighbours need to differ.
  function tickText(value, step) {
    const digits = Math.max(0, Math.min(8, -Math.floor(Math.log10(step) + 1e-9)));
    return value.toFixed(digits);
  }

  function rateText(value) {
    if (value === 0) return "0";
    const [digits, power] = value.toExponential(2).split("e");
    return `${Number(digits)}e${Number(power)}`;
  }

  const wholeText = (value) => String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, "\u2009");

  // First place in rising `steps` that is not below `step`.
  function place(steps, step) {
    let [low, high] = [0, steps.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (steps[middle] < step) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // Place of the step nearest to `step`; -1 of none.
  function nearest(steps, step) {
    const at = place(steps, step);
    if (at === 0) return steps.length ? 0 : -1;
    if (at === steps.length) return at - 1;
    return step - steps[at - 1] <= steps[at] - step ? at - 1 : at;
  }

  // ------------------------------------------------------------------ reach

  // Every value of the smooth lines is in sight. A single step's objective jumps: its outermost hundredth may leave.
  function lossReach(data, shown, [from, to]) {
    const [low, high] = [place(data.steps, from), place(data.steps, to + 1)];
    const held = [];
    for (const name of ["window_mse", "objective"]) if (shown.has(name)) held.push(...reach(data[name].slice(low, high), 0));
    if (shown.has("loss")) held.push(...reach(data.loss.slice(low, high), 0.01));
    if (shown.has("validation")) held.push(...reach(data.validation.filter(([step]) => step >= from && step <= to).map((pair) => pair[1]), 0));
    let [least, most] = held.length ? [Math.min(...held), Math.max(...held)] : BAND;
    const room = most - least;
    if (shown.has("window_mse") && BAND[0] < most + room && BAND[1] > least - room) {
      [least, most] = [Math.min(least, BAND[0]), Math.max(most, BAND[1])]; // the hint is near: show it whole
    }
    const edge = (most - least || Math.abs(most) || 1) * 0.06;
    return [least >= 0 ? Math.max(0, least - edge) : least - edge, most + edge];
  }

  function reach(values, leave) {
    const held = values.filter((value) => value !== null).sort((one, other) => one - other);
    if (!held.length) return [];
    const out = Math.floor(held.length * leave);
    return [held[out], held[held.length - 1 - out]];
  }

  // The rate's axis begins at 0: half the rate is half as high.
  function rateReach(data) {
    const most = data.learning_rate.reduce((top, value) => (value !== null && value > top ? value : top), 0);
    return [0, (most || 1) * 1.12];
  }

  // Where values lie on the canvas. `size`: width and height in CSS px; `view`: first and last step in sight.
  function layout(data, shown, view, size) {
    const isNarrow = size.width < 560;
    const isRated = shown.has("learning_rate");
    const area = { left: isNarrow ? 42 : 54, right: size.width - (isRated ? (isNarrow ? 44 : 60) : 14), top: 22, bottom: size.height - 26 };
    const [from, to] = view;
    const [least, most] = lossReach(data, shown, view);
    const [slow, quick] = rateReach(data);
    const height = area.bottom - area.top;
    const x = (step) => area.left + ((step - from) / Math.max(1e-9, to - from)) * (area.right - area.left);
    const step = (px) => from + ((px - area.left) / Math.max(1, area.right - area.left)) * (to - from);
    const y = (value) => area.bottom - ((value - least) / (most - least)) * height;
    const rate = (value) => area.bottom - ((value - slow) / (quick - slow)) * height;
    return { area, view, x, y, rate, step, loss: [least, most], quick, isNarrow, isRated };
  }

  // ------------------------------------------------------------------ painting

  function paint(pen, data, shown, frame, colours, words) {
    const { area } = frame;
    pen.font = `${frame.isNarrow ? 11 : 12}px ${colours.font}`;
    paintBand(pen, shown, frame, colours);
    paintAxes(pen, frame, colours);
    paintEpochs(pen, data, frame, colours);
    pen.save();
    pen.beginPath();
    pen.rect(area.left, area.top, area.right - area.left, area.bottom - area.top);
    pen.clip();
    pen.lineJoin = "round";
    if (shown.has("loss")) paintLine(pen, data.steps, data.loss, frame, frame.y, colours.loss, 1);
    if (shown.has("learning_rate")) paintLine(pen, data.steps, data.learning_rate, frame, frame.rate, colours.learning_rate, 1.25, [5, 4]);
    if (shown.has("objective")) paintLine(pen, data.steps, data.objective, frame, frame.y, colours.objective, 1.75);
    if (shown.has("window_mse")) paintLine(pen, data.steps, data.window_mse, frame, frame.y, colours.window_mse, 2.25);
    pen.restore();
    if (shown.has("validation")) paintValidation(pen, data, frame, colours);
    paintHint(pen, shown, frame, colours, words);
  }

  // Where the band lies: its top and height in px; null where it is out of sight.
  function bandPlace(shown, { area, y }) {
    const [top, bottom] = [Math.max(area.top, y(BAND[1])), Math.min(area.bottom, y(BAND[0]))];
    return shown.has("window_mse") && bottom - top >= 1 ? [top, bottom - top] : null;
  }

  function paintBand(pen, shown, frame, colours) {
    const band = bandPlace(shown, frame);
    if (!band) return;
    pen.fillStyle = colours.band;
    pen.fillRect(frame.area.left, band[0], frame.area.right - frame.area.left, band[1]);
  }

  // Its name, over the lines but clear of them.
  function paintHint(pen, shown, frame, colours, words) {
    const band = bandPlace(shown, frame);
    if (!band || band[1] < 18) return;
    [pen.textAlign, pen.textBaseline] = ["left", "bottom"];
    const [x, y] = [frame.area.left + 8, band[0] + band[1] - 3];
    pen.strokeStyle = colours.ground;
    pen.lineWidth = 3;
    pen.strokeText(words.band, x, y);
    pen.fillStyle = colours.good;
    pen.fillText(words.band, x, y);
  }

  function paintAxes(pen, frame, colours) {
    const { area, view, x, y, rate } = frame;
    const [low, high] = frame.loss;
    const levels = ticks(low, high, Math.max(2, Math.round((area.bottom - area.top) / 52)));
    const spread = levels.length > 1 ? levels[1] - levels[0] : Math.abs(levels[0]) || 1;
    pen.lineWidth = 1;
    pen.strokeStyle = colours.grid;
    pen.fillStyle = colours.quiet;
    [pen.textAlign, pen.textBaseline] = ["right", "middle"];
    for (const level of levels) {
      line(pen, area.left, crisp(y(level)), area.right, crisp(y(level)));
      pen.fillText(tickText(level, spread), area.left - 8, y(level));
    }
    [pen.textAlign, pen.textBaseline] = ["center", "top"];
    const wide = pen.measureText(wholeText(view[1])).width;
    const marks = ticks(view[0], view[1], Math.max(1, Math.floor((area.right - area.left) / (wide + 44))));
    for (const mark of marks.filter((one) => Number.isInteger(one))) {
      pen.fillText(wholeText(mark), Math.max(area.left + wide / 2, Math.min(area.right - wide / 2, x(mark))), area.bottom + 9);
    }
    if (!frame.isRated) return;
    pen.fillStyle = colours.learning_rate;
    [pen.textAlign, pen.textBaseline] = ["left", "middle"];
    for (const level of ticks(0, frame.quick, 3)) pen.fillText(rateText(level), area.right + 8, rate(level));
  }

  // A mark at the end of each epoch, its number where there is room for it.
  function paintEpochs(pen, data, frame, colours) {
    const { area, view, x } = frame;
    const seen = data.epochs.filter(([step]) => step > view[0] && step <= view[1]);
    if (!seen.length) return;
    const apart = (area.right - area.left) / Math.max(1, (view[1] - view[0]) / epochSteps(data));
    const every = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((one) => one * apart >= 30) || 5000;
    pen.fillStyle = colours.quiet;
    pen.strokeStyle = colours.grid;
    [pen.textAlign, pen.textBaseline] = ["center", "alphabetic"];
    for (const [step, epoch] of seen) {
      if (epoch % every) continue;
      const px = crisp(x(step));
      line(pen, px, area.top - 3, px, area.bottom);
      pen.fillText(String(epoch), Math.max(area.left + 4, Math.min(area.right - 6, px)), area.top - 8);
    }
  }

  const epochSteps = (data) => data.steps_per_epoch || (data.epochs.length ? data.epochs[0][0] / data.epochs[0][1] : 1);

  function paintLine(pen, steps, values, frame, level, colour, width, dash) {
    const first = Math.max(0, place(steps, frame.view[0]) - 1);
    const last = Math.min(steps.length, place(steps, frame.view[1]) + 2);
    pen.strokeStyle = pen.fillStyle = colour;
    pen.lineWidth = width;
    pen.setLineDash(dash || []);
    pen.beginPath();
    let isDown = false;
    for (let at = first; at < last; at += 1) {
      const value = values[at];
      if (value === null) {
        isDown = false; // a step that was left out is a gap
        continue;
      }
      if (isDown) pen.lineTo(frame.x(steps[at]), level(value));
      else pen.moveTo(frame.x(steps[at]), level(value));
      isDown = true;
    }
    pen.stroke();
    pen.setLineDash([]);
    if (last - first === 1 && values[first] !== null) dot(pen, frame.x(steps[first]), level(values[first]), 3); // one step is no line
  }

  function paintValidation(pen, data, frame, colours) {
    const seen = data.validation.filter(([step, value]) => value !== null && step >= frame.view[0] && step <= frame.view[1]);
    pen.strokeStyle = pen.fillStyle = colours.validation;
    pen.lineWidth = 1.75;
    pen.beginPath();
    seen.forEach(([step, value], at) => (at ? pen.lineTo(frame.x(step), frame.y(value)) : pen.moveTo(frame.x(step), frame.y(value))));
    pen.stroke();
    const isSparse = seen.length * 12 < frame.area.right - frame.area.left;
    if (isSparse) for (const [step, value] of seen) dot(pen, frame.x(step), frame.y(value), 3.25, colours.ground);
  }

  function dot(pen, x, y, radius, rim) {
    pen.beginPath();
    pen.arc(x, y, radius, 0, 7);
    pen.fill();
    if (!rim) return;
    pen.save();
    [pen.strokeStyle, pen.lineWidth] = [rim, 1.5];
    pen.stroke();
    pen.restore();
  }

  function line(pen, x1, y1, x2, y2) {
    pen.beginPath();
    pen.moveTo(x1, y1);
    pen.lineTo(x2, y2);
    pen.stroke();
  }

  const crisp = (px) => Math.round(px) + 0.5;

  forge.train.plot = { LINES, crisp, dot, layout, line, nearest, paint, place, rateText, ticks, tickText, wholeText };
})();
