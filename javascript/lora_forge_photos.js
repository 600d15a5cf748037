"use strict";
// The Photos step: bringing photos in, the wall of them, the doctor's findings, crops, and preparing.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.kit || forge.photos) return;
  const kit = forge.kit;
  const { $, button, get, guarded, part, post, project, put, tell } = kit;

  let place = null;
  let ui = {};
  let told = null; // the last answer of GET photos
  let byKey = new Map();
  let report = null; // the doctor's
  let group = null; // whose photos are shown; null for all
  let only = null; // keys a finding names; null for no filter
  let shownProject = null;
  let isLoading = false;

  const say = (key, values) => kit.say(place, key, values);
  // drawn: not every system's fonts have one
  const BIN =
    '<svg viewBox="0 0 16 16" width="14" height="14" fill="none" stroke="currentColor" stroke-width="1.5"><path d="M2 4h12M6 4V2h4v2M4 4l1 10h6l1-10M7 7v4M9 7v4"/></svg>';

  // ------------------------------------------------------------------ building

  function build(frame) {
    place = frame;
    const line = part("div.lf-told", { hidden: true });
    const grid = new kit.Grid({
      most: 416,
      label: say("photos_label"),
      make: tileOf,
      update: updateTile,
      onSelect: drawTools,
      onOpen: (key) => openViewer(key),
      onDelete: () => trash(grid.chosen()),
    });
    ui = { line, grid };
    ui.drop = dropZone();
    ui.sent = part("div.lf-bar", { hidden: true, role: "progressbar" }, part("i"));
    ui.groups = part("div.lf-tabs", { role: "tablist" });
    ui.tools = part("div.lf-tools");
    ui.chore = kit.choreBar(place);
    ui.checkup = checkupPart();
    ui.process = processPart();
    put(frame, 
      ui.drop, ui.sent, line, ui.groups, ui.tools, grid.root, ui.chore, ui.checkup, ui.process
    );
    buildTools();
    drawModels();
    shownProject = null;
    refresh();
  }

  function dropZone() {
    const files = part("input", { type: "file", multiple: true, hidden: true, onchange: (event) => takeInput(event) });
    const folder = part("input", { type: "file", multiple: true, hidden: true, onchange: (event) => takeInput(event) });
    folder.setAttribute("webkitdirectory", "");
    files.accept = "image/*,.heic,.heif,.avif,.txt,.caption,.zip";
    const zone = part(
      "div.lf-drop",
      { id: "lora_forge_upload" },
      part("span", {}, say("drop")),
      button(say("choose_files"), () => files.click()),
      button(say("choose_folder"), () => folder.click()),
      files,
      folder
    );
    zone.addEventListener("dragover", (event) => {
      event.preventDefault();
      zone.classList.add("lf-over");
    });
    zone.addEventListener("dragleave", () => zone.classList.remove("lf-over"));
    zone.addEventListener("drop", async (event) => {
      event.preventDefault();
      event.stopPropagation(); // the hosts take dropped pictures for their own
      zone.classList.remove("lf-over");
      send(await dropped(event.dataTransfer));
    });
    return zone;
  }

  // Faces are told apart with a pack; without one they are only found.
  const drawModels = () => forge.models.show(place, ui.models, ui.line, (one) => one.kind === "faces", drawModels);

  function buildTools() {
    ui.count = part("span.lf-count");
    ui.all = button(say("select_all"), () => ui.grid.select(ui.grid.keys));
    ui.delete = button(say("delete"), () => trash(ui.grid.chosen()), { title: say("delete_hint") });
    ui.empty = button(say("delete_all"), () => trash(ui.grid.keys));
    ui.restore = button(say("restore"), () => restore(null), { title: say("restore_hint") });
    ui.trash = button("", showTrash);
    ui.repeats = part("input", { type: "number", min: 1, step: 1, onchange: setRepeats, placeholder: say("automatic") });
    ui.repeatsLabel = part("label.lf-field", { title: say("repeats_hint") }, part("span", {}, say("repeats")), ui.repeats);
    ui.unfilter = button(say("show_all"), () => show(null), { hidden: true });
    put(ui.tools, 
      ui.count, ui.unfilter, ui.all, ui.delete, ui.empty, ui.restore, ui.trash, ui.repeatsLabel
    );
  }

  // ------------------------------------------------------------------ what is there

  async function refresh() {
    if (!place || isLoading) return;
    const name = project();
    if (name !== shownProject) {
      [shownProject, group, only, report] = [name, null, null, null];
      ui.grid.selected.clear();
      drawReport();
    }
    if (!name) return take({ photos: [], groups: [], trash: [] });
    isLoading = true;
    try {
      take(await get("photos", { project: name }));
      await loadReport();
    } catch (problem) {
      take({ photos: [], groups: [], trash: [] });
      // a name that was just typed is no project yet
      if (problem.status !== 400 && problem.status !== 404) tell(ui.line, problem.message, "error");
    } finally {
      isLoading = false;
    }
  }

  function take(answer) {
    told = { ...answer, photos: answer.photos.map((photo) => ({ ...photo, project: shownProject })) };
    byKey = new Map(told.photos.map((photo) => [photo.key, photo]));
    drawGroups();
    drawWall();
    const hasTags = answer.photos.some((photo) => photo.caption);
    kit.suggest(!answer.photos.length ? "photos" : hasTags ? "train" : "tags");
    if (answer.photos.some((photo) => !photo.width && !photo.problem)) setTimeout(refresh, 2000); // still being measured
  }

  function drawGroups() {
    const several = told.groups.length > 1;
    ui.groups.hidden = !several;
    if (group !== null && !told.groups.some((one) => one.name === group)) group = null;
    const tab = (name, text) =>
      part("button.lf-tab", {
        type: "button",
        role: "tab",
        "aria-selected": String(group === name),
        onclick: () => {
          [group, only] = [name, null];
          drawGroups();
          drawWall();
        },
      }, text);
    const originals = (name) => (name === "photos" ? say("originals") : name);
    const named = (one) => (one.is_faces ? say("faces") : one.is_prior ? `${one.name} (${say("prior")})` : originals(one.name));
    put(ui.groups, 
      tab(null, `${say("all")} ${told.photos.length}`),
      ...told.groups.map((one) => tab(one.name, `${named(one)} ${one.count}`))
    );
  }

  function drawWall() {
    const keys = told.photos.filter((photo) => (group === null || photo.group === group) && (!only || only.has(photo.key)));
    ui.grid.setKeys(keys.map((photo) => photo.key));
    ui.grid.root.hidden = !told.photos.length;
  }

  function drawTools() {
    if (!told) return;
    const [count, chosen] = [ui.grid.keys.length, ui.grid.selected.size];
    ui.tools.hidden = !told.photos.length && !told.trash.length;
    ui.count.textContent = chosen ? say("chosen", { chosen, count }) : say("count", { count });
    ui.unfilter.hidden = !only;
    ui.delete.disabled = !chosen;
    ui.all.hidden = ui.empty.hidden = !count;
    ui.empty.textContent = say(only || group !== null ? "delete_shown" : "delete_all", { count });
    ui.restore.hidden = ui.trash.hidden = !told.trash.length;
    ui.trash.textContent = say("trash", { count: told.trash.length });
    const one = told.groups.find((known) => known.name === (group ?? (told.groups.length === 1 ? told.groups[0].name : null)));
    ui.repeatsLabel.hidden = !one;
    if (one && document.activeElement !== ui.repeats) ui.repeats.value = one.repeats ?? "";
    ui.repeats.dataset.group = one ? one.name : "";
  }

  function tileOf(key) {
    const photo = byKey.get(key);
    const bin = part("button.lf-bin", { type: "button", title: say("delete_one"), onclick: () => trash([key]) });
    bin.innerHTML = BIN;
    bin.setAttribute("aria-label", `${say("delete_one")}: ${photo.name}`);
    bin.tabIndex = -1; // the keyboard's way is Delete
    return part("div", { title: photo.key }, kit.image(photo), part("span.lf-lights"), part("span.lf-size"), bin);
  }

  function updateTile(tile, key) {
    const photo = byKey.get(key);
    const source = kit.thumb(photo);
    const img = $("img", tile);
    if (img.getAttribute("src") !== source) img.src = source;
    $(".lf-size", tile).textContent = photo.problem ? "⚠" : photo.width ? `${photo.width}×${photo.height}` : "";
    $(".lf-size", tile).title = photo.problem || "";
    tile.classList.toggle("lf-broken", Boolean(photo.problem));
    const lights = lightsOf(key);
    put($(".lf-lights", tile), 
      ...lights.map((finding) => part(`i.lf-light.lf-${finding.light}`, { title: finding.title })),
      photo.crop ? part("i.lf-mark", { title: say("has_crop") }, "✂") : null
    );
  }

  const lightsOf = (key) =>
    report ? report.findings.filter((one) => one.light !== "green" && one.photos.includes(key)).slice(0, 4) : [];

  // ------------------------------------------------------------------ out and back

  async function trash(keys) {
    if (!keys.length) return;
    const at = Math.min(...keys.map((key) => ui.grid.places.get(key) ?? 0));
    await guarded(ui.line, async () => {
      const { numbers } = await post("photos/trash", { project: project(), keys });
      told.photos = told.photos.filter((photo) => !keys.includes(photo.key));
      tell(ui.line, say("deleted", { count: numbers.length }), "info");
      ui.line.append(" ", button(say("restore_these"), () => restore(numbers)));
      await refresh();
      ui.grid.go(at);
      changed();
    });
  }

  async function restore(numbers) {
    await guarded(ui.line, async () => {
      const { keys } = await post("photos/restore", { project: project(), numbers });
      tell(ui.line, say("restored", { count: keys.length }), "good");
      await refresh();
      ui.grid.select(keys);
      changed();
    });
  }

  function showTrash() {
    const dialog = openDialog(say("trash", { count: told.trash.length }));
    const tiles = told.trash.map((one) => {
      const source = kit.address("thumb", { project: project(), trash: one.number, v: one.stamp });
      const back = button(say("restore_one"), async () => {
        await restore([one.number]);
        tile.remove();
        if (!told.trash.length) dialog.close();
      });
      const tile = part("div.lf-card", {}, part("img", { src: source, alt: one.key, loading: "lazy" }), part("small", {}, one.key), back);
      return tile;
    });
    const all = button(say("restore_all"), async () => {
      await restore(told.trash.map((one) => one.number));
      dialog.close();
    });
    dialog.body.append(all, part("div.lf-cards", {}, ...tiles));
  }

  async function setRepeats() {
    const repeats = Math.round(Number(ui.repeats.value)) || null;
    await guarded(ui.line, async () => {
      await post("photos/group", { project: project(), name: ui.repeats.dataset.group, repeats });
      await refresh();
      forge.count();
    });
  }

  // The form beside us counts photos and steps too.
  const changed = kit.debounce(200, () => forge.press("#lora_forge_refresh"));

  // ------------------------------------------------------------------ bringing in

  async function dropped(transfer) {
    const entries = [...(transfer.items || [])].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry());
    if (!entries.some(Boolean)) return [...transfer.files];
    const found = [];
    for (const entry of entries) if (entry) await walk(entry, found);
    return found;
  }

  async function walk(entry, found) {
    if (entry.isFile) {
      found.push(await new Promise((done, failed) => entry.file(done, failed)));
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, failed) => reader.readEntries(done, failed)); // a hundred at a time
      if (!some.length) return;
      for (const one of some) await walk(one, found);
    }
  }

  function takeInput(event) {
    const files = [...event.target.files];
    event.target.value = "";
    send(files);
  }

  const KINDS = /\.(jpe?g|jpe|jfif|a?png|webp|avif|hei[cf]|hif|gif|bmp|dib|tiff?|jp2|ppm|mpo|txt|caption|zip)$/i;

  async function send(files) {
    const known = files.filter((file) => KINDS.test(file.name) && !file.name.startsWith("."));
    if (!files.length) return;
    if (!project()) return tell(ui.line, say("no_project"), "error");
    if (!known.length) return tell(ui.line, say("no_photos_in", { count: files.length }), "error");
    ui.sent.hidden = false;
    await guarded(ui.line, async () => {
      let batch = null;
      const refused = [];
      for (const [index, file] of known.entries()) {
        tell(ui.line, say("sending", { done: index + 1, total: known.length, name: file.name }));
        $("i", ui.sent).style.width = `${(100 * index) / known.length}%`;
        try {
          const headers = { "Content-Type": "application/octet-stream" };
          const answer = await kit.ask("upload", { name: file.name, batch }, { method: "POST", headers, body: file });
          batch = answer.batch;
        } catch (problem) {
          if (problem.status === 401 || problem.status === 0) throw problem;
          refused.push({ name: file.name, reason: problem.message });
        }
      }
      if (batch === null) return tellImport({ imported: 0, present: 0, skipped: refused });
      const trigger = $("#lora_forge_trigger input, #lora_forge_trigger textarea");
      tell(ui.line, say("reading"));
      const body = { project: project(), trigger_word: trigger ? trigger.value.trim() : "", batch };
      const answer = await post("import", body);
      tellImport({ ...answer, skipped: [...refused, ...answer.skipped] });
    });
    ui.sent.hidden = true;
    await refresh();
    changed();
  }

  function tellImport(answer) {
    const parts = [say("added", { count: answer.imported })];
    if (answer.present) parts.push(say("present", { count: answer.present }));
    tell(ui.line, parts.join(" "), answer.imported || answer.present ? "good" : "error");
    if (!answer.skipped.length) return;
    const rows = answer.skipped.map((one) => part("li", {}, part("b", {}, one.name), ` ${one.reason}`));
    ui.line.append(
      part("details.lf-list", { open: rows.length < 6 }, part("summary", {}, say("skipped", { count: rows.length })), part("ul", {}, ...rows))
    );
  }

  document.addEventListener("paste", (event) => {
    if (!place || kit.step() !== "photos" || !forge.isVisible()) return;
    const files = [...(event.clipboardData ? event.clipboardData.files : [])];
    if (!files.length) return;
    event.preventDefault();
    const stamp = new Date().toISOString().replace(/\D/g, "").slice(0, 14);
    const named = (file, index) => {
      const ending = (file.type.split("/")[1] || "png").replace("jpeg", "jpg");
      return new File([file], KINDS.test(file.name) && file.name !== "image.png" ? file.name : `pasted-${stamp}-${index + 1}.${ending}`);
    };
    send(files.map(named));
  });

  // ------------------------------------------------------------------ the doctor

  function checkupPart() {
    ui.findings = part("div.lf-findings");
    ui.detector = part("p.lf-quiet");
    ui.look = button(say("checkup"), startCheckup, { id: "lora_forge_checkup" });
    ui.look.classList.add("lf-primary");
    return part(
      "section.lf-part",
      {},
      part("div.lf-tools", {}, part("h4", {}, say("checkup_title")), ui.look, part("span.lf-quiet", {}, say("checkup_hint"))),
      ui.findings,
      ui.detector,
      (ui.models = part("div"))
    );
  }

  async function startCheckup() {
    await guarded(ui.line, async () => {
      const resolution_px = kit.number("#lora_forge_resolution input", 512);
      await post("photos/checkup", { project: project(), kind: kit.kind(), resolution_px });
      tell(ui.line, "");
      await kit.startedChore();
    });
  }

  async function loadReport() {
    try {
      report = await get("photos/checkup", { project: project() });
      if (!report.made_at) report = null; // nobody has looked yet
    } catch (_) {
      report = null; // there is none yet
    }
    drawReport();
    ui.grid.draw();
  }

  const ORDER = { red: 0, yellow: 1, green: 2 };

  function drawReport() {
    put(ui.findings);
    ui.detector.textContent = "";
    if (!report) return;
    if (report.is_stale) ui.findings.append(part("div.lf-note.lf-warning", {}, say("stale")));
    const sorted = [...report.findings].sort((a, b) => ORDER[a.light] - ORDER[b.light]);
    const good = sorted.filter((one) => one.light === "green");
    const bad = sorted.filter((one) => one.light !== "green");
    ui.findings.append(...bad.map(findingOf));
    if (good.length) {
      ui.findings.append(
        part(
          "details.lf-list",
          { open: !bad.length },
          part("summary", {}, say("all_good", { count: good.length })),
          ...good.map(findingOf)
        )
      );
    }
    ui.detector.textContent = report.detector ? report.detector.sentence : "";
  }

  function findingOf(finding) {
    const row = part("div.lf-finding", { data: { finding: finding.id } });
    const title = part("b", {}, finding.title);
    row.append(part(`i.lf-light.lf-${finding.light}`, { title: say(finding.light) }), title);
    if (finding.light !== "green" && finding.photos.length) {
      row.append(button(say("show_photos", { count: finding.photos.length }), () => show(finding.photos)));
    }
    for (const remedy of finding.light === "green" ? [] : finding.remedies) row.append(remedyOf(finding, remedy));
    row.append(part("p", {}, finding.why));
    return row;
  }

  // Some remedies are done by the program, some by hand, some are advice.
  function remedyOf(finding, remedy) {
    const byHand = {
      mark_face: () => {
        show(finding.photos);
        openViewer(finding.photos[0], "face");
      },
      lower_resolution: () => setField("#lora_forge_resolution input", finding.numbers.fitting_px),
      add_photos: () => ui.drop.scrollIntoView({ block: "center" }),
    };
    return button(remedy.label, byHand[remedy.id] || (() => cure(finding, remedy)));
  }

  function show(keys) {
    only = keys ? new Set(keys) : null;
    group = null;
    drawGroups();
    drawWall();
    if (keys) {
      ui.grid.select([]);
      ui.grid.root.scrollIntoView({ block: "nearest" });
    }
  }

  async function cure(finding, remedy) {
    await guarded(ui.line, async () => {
      const body = { project: project(), finding: finding.id, remedy: remedy.id, keys: null };
      const answer = await post("photos/remedy", body);
      tell(ui.line, answer.did, "good");
      if (answer.undo) ui.line.append(" ", button(say("take_back"), () => takeBack(answer.undo)));
      only = null;
      await refresh();
      changed();
    });
  }

  async function takeBack(undo) {
    await guarded(ui.line, async () => {
      const answer = await post("photos/remedy/undo", { project: project(), undo });
      tell(ui.line, answer.did, "good");
      await refresh();
      changed();
    });
  }

  function setField(selector, value) {
    const field = $(selector);
    if (!field) return;
    field.value = String(value);
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.dispatchEvent(new Event("change", { bubbles: true }));
  }

  // ------------------------------------------------------------------ preparing

  function field(key, input, hint) {
    return part("label.lf-field", { title: hint ? say(hint) : "" }, part("span", {}, say(key)), input);
  }

  function choices(names, value) {
    return part("select", {}, ...names.map((name) => part("option", { value: name, selected: name === value }, say(name))));
  }

  function processPart() {
    const own = {
      resolution: part("input", { type: "number", min: 64, step: 64, value: kit.number("#lora_forge_resolution input", 512) }),
      memory: part("span.lf-quiet"),
      crop: choices(["subject", "middle"], "subject"),
      buckets: part("input", { type: "checkbox", checked: true }),
      faces: part("input", { type: "checkbox", checked: false }),
      padding: part("input", { type: "number", min: 0, max: 2, step: 0.1, value: 0.4 }),
      repeats: part("input", { type: "number", min: 1, step: 1, placeholder: say("automatic") }),
    };
    ui.own = own;
    own.resolution.addEventListener("input", () => {
      setField("#lora_forge_resolution input", own.resolution.value);
      estimateSoon();
    });
    const faceOnly = [own.padding, own.repeats];
    const enable = () => faceOnly.forEach((one) => (one.disabled = !own.faces.checked));
    own.faces.addEventListener("change", enable);
    enable();
    ui.start = button(say("process"), startProcess, { id: "lora_forge_process" });
    ui.start.classList.add("lf-primary");
    return part(
      "section.lf-part",
      {},
      part("div.lf-tools", {}, part("h4", {}, say("process_title")), part("span.lf-quiet", {}, say("process_hint"))),
      part(
        "div.lf-tools",
        {},
        field("resolution", own.resolution, "resolution_hint"),
        own.memory,
        field("crop", own.crop, "crop_hint"),
        field("buckets", own.buckets, "buckets_hint"),
        field("face_set", own.faces, "face_set_hint"),
        field("padding", own.padding, "padding_hint"),
        field("face_repeats", own.repeats, "repeats_hint"),
        ui.start
      )
    );
  }

  // One number, two fields: the Train step has it too, and follows the type and the checkpoint.
  const estimateSoon = kit.debounce(300, async () => {
    const asked = { resolution_px: ui.own.resolution.value, kind: kit.kind() };
    const told = await get("memory", asked).catch((problem) => ({ sentence: problem.message, fits: true }));
    ui.own.memory.textContent = told.sentence;
    ui.own.memory.classList.toggle("lf-short", !told.fits);
  });

  function followResolution() {
    const known = String(kit.number("#lora_forge_resolution input", 512));
    const seen = `${known} ${kit.kind()}`;
    if (document.activeElement === ui.own.resolution || ui.own.seen === seen) return;
    ui.own.seen = seen;
    ui.own.resolution.value = known;
    estimateSoon();
  }

  async function startProcess() {
    const own = ui.own;
    await guarded(ui.line, async () => {
      await post("photos/process", {
        project: project(),
        resolution_px: Math.round(Number(own.resolution.value)) || 512,
        use_buckets: own.buckets.checked,
        crop: own.crop.value,
        faces: own.faces.checked,
        face_padding: Number(own.padding.value) || 0,
        face_repeats: Math.round(Number(own.repeats.value)) || null,
        kind: kit.kind(),
      });
      tell(ui.line, "");
      await kit.startedChore();
    });
  }

  // ------------------------------------------------------------------ one photo, large

  function openDialog(title) {
    const dialog = part("dialog.lf-dialog", { "aria-label": title });
    const body = part("div.lf-dialog-body");
    dialog.append(part("div.lf-tools", {}, part("h4", {}, title), button("✕", () => dialog.close(), { "aria-label": say("close") })), body);
    dialog.body = body;
    dialog.addEventListener("close", () => dialog.remove());
    $("#lora_forge").append(dialog);
    dialog.showModal();
    return dialog;
  }

  function openViewer(key, mode) {
    const photo = byKey.get(key);
    if (!photo || photo.problem) return;
    const dialog = openDialog(photo.key);
    dialog.classList.add("lf-viewer");
    const stage = part("div.lf-stage");
    const img = part("img", { src: kit.picture(photo, 1024), alt: photo.name, draggable: false });
    stage.append(img);
    const line = part("div.lf-told", { hidden: true });
    const editor = boxEditor(stage, photo);
    const keep = async (route, box) => {
      await guarded(line, async () => {
        await post(route, { project: project(), key, box });
        await refresh();
        tell(line, say("kept"), "good");
      });
    };
    const neighbour = (way) => {
      const at = ui.grid.places.get(key) + way;
      if (at < 0 || at >= ui.grid.keys.length) return;
      dialog.close();
      ui.grid.go(at);
      openViewer(ui.grid.keys[at]);
    };
    dialog.body.append(
      stage,
      line,
      part(
        "div.lf-tools",
        {},
        button("◀", () => neighbour(-1), { title: say("previous") }),
        button("▶", () => neighbour(1), { title: say("next") }),
        button(say("draw_crop"), () => editor.edit("crop")),
        button(say("draw_face"), () => editor.edit("face")),
        button(say("keep_box"), () => keep(`photos/${editor.mode}`, editor.box()), { hidden: true, data: { role: "keep" } }),
        button(say("forget_crop"), () => keep("photos/crop", null), { hidden: !photo.crop }),
        button(say("forget_face"), () => keep("photos/face", null), { hidden: !photo.face }),
        button(say("delete_one"), async () => {
          dialog.close();
          await trash([key]);
        })
      ),
      part("p.lf-quiet", {}, say("viewer_hint"))
    );
    editor.onEdit = () => ($('[data-role="keep"]', dialog).hidden = false);
    if (mode) editor.edit(mode);
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") neighbour(-1);
      else if (event.key === "ArrowRight") neighbour(1);
      else if (event.key === "Delete") dialog.close(trash([key]));
      else return;
      event.preventDefault();
    });
  }

  // A rectangle over a picture that is moved by its middle and sized by its corners; lengths are px of the photo.
  function boxEditor(stage, photo) {
    const editor = { mode: "crop", onEdit: () => {} };
    let box = null;
    const frame = part("div.lf-box", { hidden: true, tabIndex: 0 });
    for (const corner of ["nw", "ne", "sw", "se"]) frame.append(part(`i.lf-corner.lf-${corner}`, { data: { corner } }));
    stage.append(frame);
    const shown = (mode, known) => {
      const mark = part(`div.lf-box.lf-fixed.lf-${mode}`);
      lay(mark, known);
      stage.append(mark);
    };
    const lay = (element, [x, y, w, h]) => {
      const percent = (value, whole) => `${(100 * value) / whole}%`;
      Object.assign(element.style, {
        left: percent(x, photo.width),
        top: percent(y, photo.height),
        width: percent(w, photo.width),
        height: percent(h, photo.height),
      });
    };
    if (photo.crop) shown("crop", photo.crop);
    if (photo.face) shown("face", photo.face);
    editor.box = () => box.map(Math.round);
    editor.edit = (mode) => {
      editor.mode = mode;
      const [w, h] = [photo.width, photo.height];
      box = [...((mode === "crop" ? photo.crop : photo.face) || (mode === "crop" ? [w * 0.1, h * 0.1, w * 0.8, h * 0.8] : [w * 0.35, h * 0.15, w * 0.3, h * 0.3]))];
      frame.className = `lf-box lf-${mode}`;
      frame.hidden = false;
      lay(frame, box);
      frame.focus();
      editor.onEdit();
    };
    const clamp = (value, least, most) => Math.max(least, Math.min(most, value));
    const change = (corner, dx, dy, [x, y, w, h]) => {
      const least = 16;
      if (!corner) return [clamp(x + dx, 0, photo.width - w), clamp(y + dy, 0, photo.height - h), w, h];
      let [left, top, right, bottom] = [x, y, x + w, y + h];
      if (corner.includes("w")) left = clamp(left + dx, 0, right - least);
      if (corner.includes("e")) right = clamp(right + dx, left + least, photo.width);
      if (corner.includes("n")) top = clamp(top + dy, 0, bottom - least);
      if (corner.includes("s")) bottom = clamp(bottom + dy, top + least, photo.height);
      return [left, top, right - left, bottom - top];
    };
    frame.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      frame.focus();
      frame.setPointerCapture(event.pointerId);
      const scale = photo.width / stage.getBoundingClientRect().width;
      const corner = event.target.dataset.corner || "";
      const [startX, startY, start] = [event.clientX, event.clientY, [...box]];
      const move = (moved) => {
        box = change(corner, (moved.clientX - startX) * scale, (moved.clientY - startY) * scale, start);
        lay(frame, box);
      };
      frame.addEventListener("pointermove", move);
      frame.addEventListener("pointerup", () => frame.removeEventListener("pointermove", move), { once: true });
    });
    frame.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!way) return;
      const by = Math.max(1, photo.width / 100);
      box = change(event.shiftKey ? "se" : "", way[0] * by, way[1] * by, box);
      lay(frame, box);
      event.preventDefault();
      event.stopPropagation();
    });
    return editor;
  }

  // ------------------------------------------------------------------ going on

  kit.onChore(() => {
    if (!place) return;
    refresh().then(changed);
    drawModels();
  });
  kit.onStep((name) => name === "photos" && refresh());
  kit.mount("#lora_forge_photos .lf-photos", build);
  setInterval(() => {
    if (!place || kit.step() !== "photos" || !forge.isVisible()) return;
    followResolution();
    if (project() !== shownProject) refresh();
  }, 500);

  forge.photos = { refresh, openDialog };
})();
