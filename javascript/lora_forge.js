"use strict";
// The live panel and the way into txt2img. One global, no framework; gradio 3, 4 and 5, in a WebUI or on our own page.

(() => {
  if (window.loraForge) return; // the host's Reload UI loads this file again

  const RUNNING = ["waiting", "running", "stopping"];
  const MAX_LINES = 200;
  const KEPT_LANGUAGE = "lora_forge_language";
  const $ = (selector) => document.querySelector(selector);

  let job = 0; // number of the job whose lines are shown
  let last = 0; // number of the last line shown
  let lines = [];
  let snapshot = null;
  let problem = "";
  let files = null; // "job:count" when the Lora lists were refreshed last
  let isAsking = false;
  let asked = 0;
  let wasVisible = false;
  const listeners = [];

  const panel = () => $("#lora_forge_live .lf-live");
  const words = () => {
    const place = panel();
    return place ? JSON.parse(place.dataset.words) : {};
  };
  const isVisible = () => {
    const root = $("#lora_forge");
    return Boolean(root && root.offsetParent !== null && !document.hidden);
  };

  // ------------------------------------------------------------------ asking

  // Who asks again only after an answer would wait for ever for one that never comes. (Browsers before 2022 have no such signal.)
  const patience = () => (AbortSignal.timeout ? AbortSignal.timeout(120000) : undefined);

  async function ask() {
    const place = panel();
    const query = new URLSearchParams({ since: String(last), language: place.dataset.language });
    const address = new URL(`lora_forge/status?${query}`, document.baseURI.replace(/[?#].*$/, ""));
    const answer = await fetch(address, { credentials: "same-origin", cache: "no-store", signal: patience() });
    if (answer.status === 401 || answer.status === 403) throw new Error("login");
    if (!answer.ok) throw new Error("lost");
    return answer.json();
  }

  function take(told) {
    // Another process (numbers begin anew), or another language (the lines come in it): all lines again.
    const newest = told.log.length ? told.log[told.log.length - 1].number : last;
    if (told.job < job || newest < last) {
      [last, lines] = [0, []];
      asked = 0;
    }
    if (told.job !== job) lines = lines.filter((line) => line.job === told.job);
    job = told.job;
    for (const line of told.log) {
      if (line.number > last) lines.push({ ...line, job: told.job });
      last = Math.max(last, line.number);
    }
    lines = lines.slice(-MAX_LINES);
    snapshot = told;
    showNewFiles(told);
    for (const act of listeners) act(told);
  }

  // `act(told)` with every answer of the board, and at once with the last.
  function onTold(act) {
    listeners.push(act);
    if (snapshot) act(snapshot);
  }

  const fileListeners = [];
  // `act()` when a run has saved a file.
  const onFiles = (act) => fileListeners.push(act);

  function showNewFiles(told) {
    const now = `${told.job}:${told.files.length}`;
    if (files !== null && files !== now && told.files.length) {
      refreshLoras();
    }
    files = now;
  }

  // LoRA files came or went: cards change only when the hosts' own refresh buttons are pressed.
  function refreshLoras() {
    press("#txt2img_lora_extra_refresh_internal");
    press("#img2img_lora_extra_refresh_internal");
    for (const act of fileListeners) act();
  }

  // Until the first answer is there, a project's name that is typed could be overwritten by it. gradio shows it a frame later.
  function ready() {
    requestAnimationFrame(() => requestAnimationFrame(() => {
      const root = $("#lora_forge");
      if (root) root.dataset.ready = "yes";
    }));
  }

  function press(selector) {
    const button = $(selector);
    if (button) button.click();
  }

  async function tick() {
    const visible = isVisible() && panel() !== null;
    if (visible && !wasVisible) {
      keepLanguage();
      press("#lora_forge_refresh");
      setTimeout(ready, 20000); // a program that does not answer
    }
    wasVisible = visible;
    if (!visible || isAsking) return;
    // A WebUI that is just starting again can be brought down by a request that comes too early.
    const pause = problem === "lost" ? 15000 : snapshot && !RUNNING.includes(snapshot.state) ? 3000 : 1000;
    if (Date.now() - asked >= pause) await look();
    draw();
  }

  async function look() {
    isAsking = true;
    asked = Date.now();
    const { language } = forgetLines;
    let told = null;
    try {
      told = await ask();
      problem = "";
    } catch (cause) {
      problem = cause.message === "login" ? "login" : "lost";
    } finally {
      isAsking = false;
    }
    if (told && language === forgetLines.language) take(told); // else it has lines of the language before
  }

  // ------------------------------------------------------------------ drawing

  function part(kind, name, text) {
    const made = document.createElement(kind);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function frame(place) {
    const head = part("div", "lf-head");
    head.append(part("b", "lf-state"), part("span", "lf-title"), part("span", "lf-numbers"));
    const bar = part("div", "lf-bar");
    bar.setAttribute("role", "progressbar");
    bar.setAttribute("aria-valuemin", "0");
    bar.setAttribute("aria-valuemax", "100");
    bar.append(part("i"));
    const log = part("div", "lf-log");
    log.setAttribute("role", "log");
    log.tabIndex = 0;
    // .lf-run is the Train step's: what the run can be told, its chart and previews
    place.replaceChildren(head, bar, part("div", "lf-problem"), part("div", "lf-files"), part("div", "lf-run"), log);
  }

  function draw() {
    const place = panel();
    if (!place) return;
    if (!place.firstChild) frame(place);
    const say = words();
    const told = snapshot;
    place.dataset.state = told ? told.state : "idle";
    const name = told ? (told.is_paused ? "paused" : told.state) : "idle";
    put(place, ".lf-state", problem ? say[problem] : say[name] || name);
    put(place, ".lf-title", told ? told.title : "");
    if (!told) return;
    put(place, ".lf-numbers", numbers(told, say));
    const share = told.total ? Math.min(100, (100 * told.step) / told.total) : told.state === "done" ? 100 : 0;
    const bar = place.querySelector(".lf-bar");
    bar.hidden = told.state === "idle";
    bar.setAttribute("aria-valuenow", share.toFixed(0));
    bar.firstChild.style.width = `${share}%`;
    const error = told.error ? [told.error.what, told.error.remedy].filter(Boolean).join(" ") : "";
    put(place, ".lf-problem", error);
    put(place, ".lf-files", told.files.length ? `${say.files}: ${told.files.join(", ")}` : "");
    drawLog(place.querySelector(".lf-log"));
  }

  function put(place, selector, text) {
    const found = place.querySelector(selector);
    if (found.textContent !== text) found.textContent = text;
    found.hidden = !text;
  }

  function numbers(told, say) {
    if (told.state === "idle") return "";
    const shown = [];
    if (told.stage) shown.push(say[told.stage] || told.stage);
    if (told.total) shown.push(`${say.step} ${told.step}/${told.total}`);
    if (told.epoch) shown.push(`${say.epoch} ${told.epoch}`);
    if (told.loss !== null) shown.push(`${say.loss} ${told.loss.toFixed(4)}`);
    if (told.window_mse !== null) shown.push(`${say.window_mse} ${told.window_mse.toFixed(4)}`);
    if (told.images_per_s) shown.push(`${told.images_per_s.toFixed(2)} ${say.speed}`);
    if (told.memory_bytes) shown.push(`${(told.memory_bytes / 1e9).toFixed(1)} GB`);
    if (told.seconds_left !== null) shown.push(`${clock(told.seconds_left)} ${say.left}`);
    return shown.join(" · ");
  }

  function clock(seconds) {
    const whole = Math.max(0, Math.round(seconds));
    const two = (value) => String(value).padStart(2, "0");
    const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
  }

  function drawLog(log) {
    const newest = lines.length ? lines[lines.length - 1].number : 0;
    const key = `${lines.length}:${newest}`;
    if (log.dataset.key === key) return;
    const follows = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    log.replaceChildren(...lines.map((line) => part("div", `lf-${line.level}`, line.text)));
    log.dataset.key = key;
    log.hidden = !lines.length;
    if (follows) log.scrollTop = log.scrollHeight;
  }

  // ------------------------------------------------------------------ language

  function keepLanguage() {
    let kept = null;
    try {
      kept = window.localStorage.getItem(KEPT_LANGUAGE);
    } catch (_) {
      return; // a browser that keeps nothing
    }
    const place = panel();
    if (kept && place && kept !== place.dataset.language) {
      const choice = $(`#lora_forge_language input[value="${CSS.escape(kept)}"]`);
      if (choice) choice.click();
    }
  }

  document.addEventListener("change", (event) => {
    if (!event.isTrusted || !event.target.closest || !event.target.closest("#lora_forge_language")) return;
    try {
      window.localStorage.setItem(KEPT_LANGUAGE, event.target.value);
    } catch (_) {
      // nothing is kept
    }
  });

  function forgetLines(language) {
    if (forgetLines.language !== undefined && forgetLines.language !== language) {
      [last, lines, asked] = [0, [], 0];
    }
    forgetLines.language = language;
  }

  // ------------------------------------------------------------------ txt2img

  const value = (selector) => {
    const found = $(selector);
    return found ? found.value : undefined;
  };
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));

  const PLOT = "#script_txt2img_xyz_plot_";

  function isChosen(wanted) {
    return (
      value("#txt2img_prompt textarea") === wanted.prompt &&
      value("#script_list input") === "X/Y/Z plot" &&
      value(`${PLOT}x_type input`) === "Prompt S/R" &&
      value(`${PLOT}y_type input`) === "Prompt S/R"
    );
  }

  function isFilled(wanted) {
    return (
      isChosen(wanted) &&
      value(`${PLOT}x_values textarea`) === wanted.x &&
      value(`${PLOT}y_values textarea`) === wanted.y
    );
  }

  function write(selector, text) {
    const place = $(selector);
    if (!place || place.value === text) return;
    place.value = text;
    place.dispatchEvent(new Event("input", { bubbles: true }));
  }

  // Put an infotext into txt2img, see that it arrived, and press Generate if asked to. `tell(sentence)` says how it goes.
  async function fillTxt2img(text, wanted, presses, tell) {
    const say = words();
    tell(say.pasting);
    await completed(text);
    $("#lora_forge_paste").click();
    const until = Date.now() + 60000;
    let written = Date.now();
    for (;;) {
      if (isFilled(wanted)) {
        await wait(500); // the host shows the plot's group a moment after its fields are set
        if (isFilled(wanted)) break;
      }
      if (Date.now() > until) {
        tell(say.refused, "error");
        return false;
      }
      // On a quick machine the host answers the change of an axis' type with the values from before the paste.
      if (isChosen(wanted) && Date.now() - written > 2000) {
        written = Date.now();
        write(`${PLOT}x_values textarea`, wanted.x);
        write(`${PLOT}y_values textarea`, wanted.y);
      }
      await wait(100);
    }
    if (presses) $("#txt2img_generate").click();
    tell(presses ? say.pressed : say.pasted, "good");
    return true;
  }

  // The host's own settings that pasting would override are put to the text first, by the page's own hidden button.
  async function completed(text) {
    const field = "#lora_forge_infotext textarea, #lora_forge_infotext input";
    write("#lora_forge_wished textarea, #lora_forge_wished input", "");
    write(field, "");
    await wait(100);
    write("#lora_forge_wished textarea, #lora_forge_wished input", text);
    await wait(100);
    $("#lora_forge_complete").click();
    for (let tries = 0; tries < 100 && !value(field); tries += 1) await wait(100);
    await wait(100);
  }

  setInterval(() => {
    const place = panel();
    if (place) forgetLines(place.dataset.language);
    tick();
  }, 500);

  // AUTOMATIC1111's own list of checkpoints shows what was chosen here only when its own way is gone too.
  function chosen(title) {
    const shown = value("#setting_sd_model_checkpoint input");
    if (title && shown !== undefined && shown !== title && typeof window.selectCheckpoint === "function") {
      window.selectCheckpoint(title);
    }
  }

  const word = (key) => words()[key] || key;

  window.loraForge = { chosen, clock, fillTxt2img, isVisible, onFiles, onTold, patience, press, ready, refreshLoras, word };
})();
