"use strict";
// The loss chart, its data: a run's lines are fetched once and then followed; what is zoomed into is fetched in detail.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.kit || (forge.train && forge.train.series)) return; // the host's Reload UI loads this file again
  forge.train = forge.train || {};
  const { debounce, get, newest } = forge.kit;

  const COLUMNS = ["steps", "loss", "window_mse", "objective", "learning_rate"];
  const LEAST_STEPS = 4; // what a zoom shows
  const NOTHING = { revision: "", validation: [], epochs: [], first: null, last: null, total: null, steps_per_epoch: null };
  for (const name of COLUMNS) NOTHING[name] = [];

  // `points()`: how many steps the chart has room for. `changed()` is called when there is something new to draw, and
  // `told(problem)` with what an answer refused, or null after a good one.
  function series(points, changed, told) {
    let run = null;
    let data = NOTHING; // the whole run
    let detail = null; // the last zoom that has come, with its span
    let view = null; // [first, last] step in sight; null is the whole run

    function show(target) {
      if (run && target && run.project === target.project && run.name === target.name) return update();
      [run, data, detail, view] = [target, NOTHING, null, null];
      changed();
      return update();
    }

    const update = newest(() => guarded(fetchNew));

    async function fetchNew() {
      const asked = run;
      if (!asked) return;
      const isLong = data.steps.length > 2.5 * points(); // grown by small pieces: thin it again
      const answer = await get("runs/series", {
        ...asked,
        points: points(),
        since: isLong ? 0 : data.last || 0,
        revision: isLong ? "" : data.revision,
      });
      if (asked !== run) return; // it was asked for too
      const isWound = Boolean(data.revision) && answer.revision !== data.revision;
      data = answer.is_new ? answer : joined(data, answer);
      if (isWound) {
        detail = null;
        if (view) look(view);
      }
      changed();
    }

    async function fetchDetail() {
      const [asked, wanted] = [run, view];
      if (!asked || !wanted) return;
      const span = [Math.floor(wanted[0]), Math.ceil(wanted[1])];
      const answer = await get("runs/series", { ...asked, points: points(), from: span[0], to: span[1] });
      if (asked !== run || wanted !== view) return;
      detail = { ...answer, span };
      changed();
    }

    async function guarded(act) {
      try {
        await act();
        told(null);
      } catch (problem) {
        told(problem);
      }
    }

    const fineLater = debounce(120, () => guarded(fetchDetail));

    const bounds = () => [data.first || 0, Math.max(data.last || 0, (data.first || 0) + 1)];

    // null is the whole run; anything else is put inside of it.
    function look(wanted) {
      const [first, last] = bounds();
      view = null;
      if (wanted) {
        const length = Math.max(LEAST_STEPS, wanted[1] - wanted[0]);
        const from = Math.max(first, Math.min(wanted[0], last - length));
        if (length < last - first) view = [from, from + length];
      }
      if (view) fineLater();
      changed();
    }

    function drawn() {
      const isFine = view && detail && detail.span[0] <= view[0] && detail.span[1] >= view[1];
      return isFine ? { ...detail, validation: data.validation, epochs: data.epochs } : data;
    }

    return { bounds, drawn, inSight: () => view || bounds(), isZoomed: () => view !== null, look, show, update, whole: () => data };
  }

  // What was fetched, and what came behind it.
  function joined(before, added) {
    const merged = { ...added };
    for (const name of COLUMNS) merged[name] = added[name].length ? before[name].concat(added[name]) : before[name];
    for (const name of ["validation", "epochs"]) {
      merged[name] = [...new Map([...before[name], ...added[name]])].sort((one, other) => one[0] - other[0]);
    }
    return merged;
  }

  forge.train.series = series;
})();
