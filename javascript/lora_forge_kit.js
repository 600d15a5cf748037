"use strict";
// What the photo wall and the tag editor share: asking our routes, small DOM helpers, a grid that holds thousands of
// pictures, what goes on beside a run, and the steps across the top.

(() => {
  const forge = window.loraForge;
  if (!forge || forge.kit) return; // the host's Reload UI loads this file again

  const $ = (selector, root = document) => root.querySelector(selector);
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));

  // ------------------------------------------------------------------ elements

  // part("button.lf-small", {title: "..."}, "text", child, ...)
  function part(kind, props, ...children) {
    const [tag, ...names] = kind.split(".");
    const made = document.createElement(tag || "div");
    if (names.length) made.className = names.join(" ");
    for (const [name, value] of Object.entries(props || {})) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (name === "data") Object.assign(made.dataset, value);
      else if (name in made && name !== "list") made[name] = value;
      else made.setAttribute(name, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    // The hosts style bare fields each in their own way.
    if (/^(input|select|textarea)$/.test(tag)) made.classList.add(/^(checkbox|radio)$/.test(made.type) ? "lf-check" : "lf-input");
    return made;
  }

  // Children that are null are left out: the browser would write "null".
  function put(element, ...children) {
    element.replaceChildren(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }

  function button(text, onclick, props) {
    return part("button.lf-button", { type: "button", onclick, ...props }, text);
  }

  function fill(text, values) {
    return String(text).replace(/\{(\w+)\}/g, (place, name) => (name in values ? values[name] : place));
  }

  const wordsOf = new WeakMap();

  // The panel's words, by key; say(place, "photos", {count: 3}) fills their places.
  function say(place, key, values) {
    if (!wordsOf.has(place)) wordsOf.set(place, JSON.parse(place.dataset.words));
    const text = wordsOf.get(place)[key];
    return text === undefined ? key : fill(text, values || {});
  }

  function debounce(ms, act) {
    let timer = 0;
    return (...values) => {
      clearTimeout(timer);
      timer = setTimeout(() => act(...values), ms);
    };
  }

  // look() one at a time; what is wished for while it is on its way is looked at once more, after it: the last one counts,
  // whether it went well or not. A look may wish for the next one, never wait for it: it would wait for itself.
  function newest(look) {
    let looking = null;
    let isOld = false;
    async function untilNew() {
      let problem = null;
      do {
        [isOld, problem] = [false, null];
        await look().catch((cause) => (problem = cause));
      } while (isOld);
      looking = null;
      if (problem) throw problem;
    }
    return () => {
      isOld = true;
      looking = looking || untilNew();
      return looking;
    };
  }

  // Each act() after the one before, however that went, in the order they were asked for.
  function queue() {
    let last = Promise.resolve();
    return (act) => (last = last.catch(() => {}).then(act));
  }

  // A panel is a frame that Python renders anew with each language; build(place) fills it each time.
  const panels = [];

  function mount(selector, build) {
    panels.push({ selector, build, place: null });
  }

  function mountAll() {
    for (const panel of panels) {
      const place = $(panel.selector);
      if (place && place !== panel.place) {
        panel.place = place;
        panel.build(place);
      }
    }
  }

  // ------------------------------------------------------------------ asking

  class Refused extends Error {
    constructor(status, told) {
      const error = (told && told.error) || {};
      super([error.what, error.remedy].filter(Boolean).join(" "));
      this.status = status;
      this.told = told || {};
    }
  }

  function address(route, query) {
    const found = Object.entries(query || {}).filter(([, value]) => value !== undefined && value !== null);
    const base = document.baseURI.replace(/[?#].*$/, "");
    return String(new URL(`lora_forge/${route}?${new URLSearchParams(found)}`, base));
  }

  async function ask(route, query, options) {
    let [answer, told] = [null, null];
    try {
      answer = await fetch(address(route, query), { credentials: "same-origin", cache: "no-store", ...options });
      told = await answer.json();
    } catch (cause) {
      if (cause.name === "AbortError") throw cause;
      if (!answer || answer.ok) throw new Refused(0, { error: { what: forge.word("lost") } }); // half an answer is none
    }
    if (!answer.ok) throw new Refused(answer.status, told || { error: { what: `${answer.status} ${answer.statusText}` } });
    return told;
  }

  const get = (route, query, options) => ask(route, { language: language(), ...query }, { signal: forge.patience(), ...options });

  function post(route, body, query) {
    const headers = { "Content-Type": "application/json" };
    return ask(route, query, { method: "POST", headers, body: JSON.stringify({ language: language(), ...body }) });
  }

  const project = () => {
    const field = $("#lora_forge_project input");
    return field ? field.value.trim() : "";
  };
  const kind = () => {
    const field = $("#lora_forge_kind input:checked");
    return field ? field.value : "person";
  };
  const number = (selector, otherwise) => {
    const field = $(selector);
    const value = field ? Number(field.value) : NaN;
    return Number.isFinite(value) && field.value !== "" ? value : otherwise;
  };
  // What is chosen at the top: the frames follow a moment later, each in its turn.
  const language = () => {
    const chosen = $("#lora_forge_language input:checked");
    const place = $("#lora_forge_live .lf-live");
    return (chosen && chosen.value) || (place && place.dataset.language) || "en";
  };
  // Of the project they were listed for: by now another one may be chosen.
  const thumb = (photo) => address("thumb", { project: photo.project, key: photo.key, v: photo.stamp });
  const picture = (photo, side) => address("picture", { path: `${photo.project}/images/${photo.key}`, side, v: photo.stamp });

  // ------------------------------------------------------------------ telling

  // One line for what just happened in a panel; an error stays until something else is told.
  function tell(line, text, kind) {
    line.textContent = text || "";
    line.className = text ? `lf-note lf-${kind || "info"}` : "lf-told";
    line.setAttribute("role", kind === "error" ? "alert" : "status");
    line.hidden = !text;
  }

  // Run `act`; whatever it refuses is a sentence in `line`.
  async function guarded(line, act) {
    try {
      return await act();
    } catch (problem) {
      if (problem.name === "AbortError") return undefined;
      tell(line, problem.message || String(problem), "error");
      if (!(problem instanceof Refused)) console.error(problem);
      return undefined;
    }
  }

  // ------------------------------------------------------------------ the grid

  // Thousands of tiles, of which only those in sight are in the page. `make(key)` gives a tile, `update(tile, key)`
  // brings it up to date. Keys, the selection and the cursor belong to the grid; it says when they change.
  class Grid {
    constructor(options) {
      this.options = { width: 132, height: 132, gap: 8, ...options };
      this.keys = [];
      this.places = new Map(); // index by key
      this.selected = new Set();
      this.cursor = null;
      this.anchor = null;
      this.tiles = new Map();
      this.canvas = part("div.lf-canvas");
      this.root = part(
        "div.lf-grid",
        {
          tabIndex: 0,
          role: "listbox",
          "aria-multiselectable": "true",
          "aria-label": options.label || "",
          onscroll: () => this.later(),
          onkeydown: (event) => this.onKey(event),
          onclick: (event) => this.onClick(event),
          ondblclick: (event) => this.onDouble(event),
        },
        this.canvas
      );
      new ResizeObserver(() => this.later()).observe(this.root);
      this.number = Grid.made = (Grid.made || 0) + 1;
    }

    setKeys(keys) {
      this.keys = keys;
      this.places = new Map(keys.map((key, index) => [key, index]));
      this.selected = new Set([...this.selected].filter((key) => this.places.has(key)));
      if (!this.places.has(this.cursor)) this.cursor = null;
      this.draw();
      this.say();
    }

    later() {
      if (this.waiting) return;
      this.waiting = requestAnimationFrame(() => {
        this.waiting = 0;
        if (this.root.isConnected) this.draw(); // else another has taken its place
      });
    }

    // A list is a grid of one column.
    get columns() {
      const { width, gap, isList } = this.options;
      return isList ? 1 : Math.max(1, Math.floor((this.root.clientWidth - gap) / (width + gap)));
    }

    // Tiles grow until they fill the width.
    get width() {
      const { gap } = this.options;
      return Math.max(1, Math.floor((this.root.clientWidth - gap) / this.columns) - gap);
    }

    get height() {
      const { width, height, isList } = this.options;
      return isList ? height : Math.round((height * this.width) / width);
    }

    draw() {
      const { gap } = this.options;
      const [width, height] = [this.width, this.height];
      const [columns, row] = [this.columns, height + gap];
      const rows = Math.ceil(this.keys.length / columns);
      this.canvas.style.height = `${rows * row + gap}px`;
      if (this.options.most) this.root.style.height = `${Math.min(this.options.most, rows * row + gap + 2)}px`;
      const first = Math.max(0, Math.floor(this.root.scrollTop / row) - 2) * columns;
      const last = (Math.ceil((this.root.scrollTop + this.root.clientHeight) / row) + 2) * columns;
      const shown = new Set(this.keys.slice(first, last));
      for (const [key, tile] of this.tiles) {
        if (!shown.has(key)) {
          tile.remove();
          this.tiles.delete(key);
        }
      }
      for (const key of shown) {
        let tile = this.tiles.get(key);
        if (!tile) {
          tile = this.options.make(key);
          tile.classList.add("lf-tile");
          tile.dataset.key = key;
          tile.setAttribute("role", "option");
          this.tiles.set(key, tile);
          this.canvas.append(tile);
        }
        const index = this.places.get(key);
        tile.id = `lf-tile-${this.number}-${index}`;
        tile.style.transform = `translate(${gap + (index % columns) * (width + gap)}px, ${
          gap + Math.floor(index / columns) * row
        }px)`;
        tile.style.width = `${width}px`;
        tile.style.height = `${height}px`;
        tile.setAttribute("aria-selected", String(this.selected.has(key)));
        tile.classList.toggle("lf-cursor", key === this.cursor);
        if (this.options.update) this.options.update(tile, key);
      }
      const at = this.places.get(this.cursor);
      if (at === undefined) this.root.removeAttribute("aria-activedescendant");
      else this.root.setAttribute("aria-activedescendant", `lf-tile-${this.number}-${at}`);
    }

    say() {
      if (this.options.onSelect) this.options.onSelect();
    }

    // The selection, in the order shown.
    chosen() {
      return this.keys.filter((key) => this.selected.has(key));
    }

    select(keys) {
      this.selected = new Set(keys);
      this.draw();
      this.say();
    }

    go(index, event) {
      if (!this.keys.length) return;
      const at = Math.max(0, Math.min(this.keys.length - 1, index));
      const key = this.keys[at];
      if (event && event.shiftKey) {
        const from = this.places.get(this.anchor) ?? at;
        this.selected = new Set(this.keys.slice(Math.min(from, at), Math.max(from, at) + 1));
      } else if (event && (event.ctrlKey || event.metaKey)) {
        this.anchor = key;
      } else {
        if (!this.options.isList) this.selected = new Set([key]); // in a list the arrows walk, and Space ticks
        this.anchor = key;
      }
      this.cursor = key;
      this.show(at);
      this.draw();
      this.say();
    }

    toggle(key) {
      if (!this.selected.delete(key)) this.selected.add(key);
      [this.cursor, this.anchor] = [key, key];
      this.draw();
      this.say();
    }

    show(index) {
      const row = this.height + this.options.gap;
      const top = Math.floor(index / this.columns) * row;
      if (top < this.root.scrollTop) this.root.scrollTop = top;
      const bottom = top + row + this.options.gap - this.root.clientHeight;
      if (bottom > this.root.scrollTop) this.root.scrollTop = bottom;
    }

    onClick(event) {
      const tile = event.target.closest(".lf-tile");
      if (!tile || event.target.closest("button")) return;
      this.root.focus({ preventScroll: true });
      const key = tile.dataset.key;
      if (this.options.onTile && this.options.onTile(key)) return;
      if (event.ctrlKey || event.metaKey) this.toggle(key);
      else this.go(this.places.get(key), event.shiftKey ? event : null);
    }

    onDouble(event) {
      const tile = event.target.closest(".lf-tile");
      if (tile && !event.target.closest("button") && this.options.onOpen) this.options.onOpen(tile.dataset.key);
    }

    onKey(event) {
      if (event.target !== this.root) return;
      const at = this.places.get(this.cursor) ?? -1;
      const page = Math.max(1, Math.floor(this.root.clientHeight / (this.height + this.options.gap)));
      const steps = {
        ArrowRight: 1,
        ArrowLeft: -1,
        ArrowDown: this.columns,
        ArrowUp: -this.columns,
        PageDown: this.columns * page,
        PageUp: -this.columns * page,
        Home: -this.keys.length,
        End: this.keys.length,
      };
      const isAll = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "a";
      if (event.key in steps) this.go(at < 0 ? 0 : at + steps[event.key], event);
      else if (isAll) this.select(this.keys);
      else if (event.key === "Escape") this.select([]);
      else if (event.key === " " && this.cursor) {
        if (!(this.options.onTile && this.options.onTile(this.cursor))) this.toggle(this.cursor);
      } else if (event.key === "Enter" && this.cursor && this.options.onOpen) this.options.onOpen(this.cursor);
      else if (event.key === "Delete" && this.options.onDelete && this.selected.size) this.options.onDelete();
      else if (!(this.cursor && this.options.onLetter && this.options.onLetter(event, this.cursor))) return;
      event.preventDefault();
      event.stopPropagation(); // the hosts have keys of their own
    }
  }

  function image(photo) {
    return part("img", { src: thumb(photo), alt: photo.name, loading: "lazy", decoding: "async", draggable: false });
  }

  // ------------------------------------------------------------------ beside a run

  const RUNNING = ["waiting", "running", "stopping"];
  const chore = { told: null, listeners: [], next: 0, rate: 0 }; // `next`: when to look again

  function onChore(act) {
    chore.listeners.push(act);
  }

  const isBusy = () => Boolean(chore.told && RUNNING.includes(chore.told.state));

  const lookAtChore = newest(async () => {
    chore.next = Infinity; // not before there is an answer
    const [before, since] = [chore.told, chore.at];
    const told = await get("status", { board: "chores" }).catch(() => null); // the live panel says when there is none
    chore.next = Date.now() + (told && RUNNING.includes(told.state) ? 500 : 4000);
    if (!told || before !== chore.told) return; // one was started meanwhile, of which this answer knows nothing
    [chore.told, chore.at] = [told, Date.now()];
    chore.rate = rateOf(before, told, (chore.at - since) / 1000);
    const wasBusy = before && RUNNING.includes(before.state);
    const hasEnded = !isBusy() && before && (wasBusy || before.job !== told.job);
    drawChores();
    if (hasEnded) for (const act of chore.listeners) act(told);
  });

  // Steps a second, smoothed; what an earlier try had fetched already does not count.
  function rateOf(before, now, seconds) {
    const goesOn = before && before.job === now.job && before.stage === now.stage && now.step >= before.step && before.step > 0;
    if (!goesOn || !(seconds > 0)) return 0;
    const fresh = (now.step - before.step) / seconds;
    return chore.rate ? 0.7 * chore.rate + 0.3 * fresh : fresh;
  }

  // Look at once: a chore was just started.
  function startedChore() {
    chore.told = chore.told ? { ...chore.told, state: "running", error: null } : { state: "running", log: [], job: 0 };
    drawChores();
    return lookAtChore();
  }

  function choreBar(place) {
    const bar = part("div.lf-chore", { hidden: true });
    bar.append(
      part("b"),
      part("span.lf-count"),
      part("div.lf-bar", { role: "progressbar" }, part("i")),
      button(say(place, "stop"), () => post("command", { command: "stop", board: "chores" }).catch(() => {})),
      part("div.lf-lines")
    );
    bar.place = place;
    return bar;
  }

  function drawChores() {
    for (const bar of document.querySelectorAll("#lora_forge .lf-chore")) drawChore(bar, chore.told);
  }

  function drawChore(bar, told) {
    bar.hidden = !told || told.state === "idle";
    if (bar.hidden) return;
    bar.dataset.job = told.job;
    const busy = RUNNING.includes(told.state);
    const place = bar.place;
    $("b", bar).textContent = `${told.title || ""} · ${say(place, told.state)}`;
    const left = told.seconds_left ? ` · ${forge.clock(told.seconds_left)} ${say(place, "left")}` : "";
    const speed = busy && told.total > 5e6 && chore.rate ? ` · ${amount(chore.rate, told)}/s` : "";
    $(".lf-count", bar).textContent = busy && told.total ? `${amount(told.step, told)} / ${amount(told.total, told)}${speed}${left}` : "";
    $(".lf-bar", bar).hidden = !busy;
    $(".lf-bar i", bar).style.width = `${told.total ? (100 * told.step) / told.total : 0}%`;
    $("button", bar).hidden = !busy;
    const lines = (told.log || []).filter((line) => line.job === undefined || line.job === told.job).slice(-6);
    const error = told.error ? [{ level: "error", text: `${told.error.what} ${told.error.remedy}`.trim() }] : [];
    const shown = [...lines.filter((line) => line.level !== "error"), ...error];
    $(".lf-lines", bar).replaceChildren(...shown.map((line) => part(`div.lf-${line.level}`, {}, line.text)));
  }

  // Downloads count bytes.
  const amount = (value, told) => (told.total > 5e6 ? `${(value / 1e6).toFixed(1)} MB` : String(value));

  // ------------------------------------------------------------------ the steps

  const KEPT_STEP = "lora_forge_step";

  function chooseStep(name) {
    const root = $("#lora_forge");
    if (!root || !$(`#lora_forge_steps_bar [data-step="${CSS.escape(name)}"]`)) return;
    root.dataset.step = name;
    for (const one of document.querySelectorAll("#lora_forge_steps_bar [data-step]")) {
      one.setAttribute("aria-current", one.dataset.step === name ? "step" : "false");
    }
    try {
      window.sessionStorage.setItem(KEPT_STEP, name);
    } catch (_) {
      // a browser that keeps nothing
    }
    for (const act of stepListeners) act(name);
  }

  const stepListeners = [];
  const onStep = (act) => stepListeners.push(act);
  const step = () => ($("#lora_forge") || { dataset: {} }).dataset.step || "";

  // The step whose turn it is: the furthest that a part of the page names ("" where it has nothing to say).
  const named = new Map();
  function suggest(part, name) {
    named.set(part, name);
    const steps = [...document.querySelectorAll("#lora_forge_steps_bar [data-step]")];
    const order = steps.map((one) => one.dataset.step);
    const furthest = order[Math.max(...[...named.values()].map((one) => order.indexOf(one)))];
    for (const one of steps) one.classList.toggle("lf-next", one.dataset.step === furthest);
  }

  document.addEventListener("click", (event) => {
    const chosen = event.target.closest && event.target.closest("#lora_forge_steps_bar [data-step]");
    if (chosen) chooseStep(chosen.dataset.step);
  });

  function keepStep() {
    const bar = $("#lora_forge_steps_bar");
    if (!bar || !$("[data-step]", bar)) return;
    const current = step();
    if (current && $(`[data-step="${current}"][aria-current="step"]`, bar)) return;
    let kept = null;
    try {
      kept = window.sessionStorage.getItem(KEPT_STEP);
    } catch (_) {
      // a browser that keeps nothing
    }
    chooseStep(current || (kept && $(`[data-step="${CSS.escape(kept)}"]`, bar) ? kept : "photos"));
  }

  setInterval(() => {
    mountAll();
    keepStep();
    if (forge.isVisible() && Date.now() >= chore.next) lookAtChore();
  }, 300);

  forge.kit = {
    $, Grid, Refused, address, ask, button, chooseStep, choreBar, debounce, fill, get, guarded, image, isBusy, kind, language,
    mount, newest, number, onChore, onStep, part, picture, post, project, put, queue, say, startedChore, step, suggest, tell, thumb, wait,
  };
})();
