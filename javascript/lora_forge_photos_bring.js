"use strict";
// The Photos step: bringing photos in, by dropping, choosing or pasting them.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.photos || forge.photos.bring) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { $, button, part, post, project } = kit;
  const desk = forge.photos;
  const { changed, guarded, refresh, say, tell } = desk;
  const KINDS = /\.(jpe?g|jpe|jfif|a?png|webp|avif|hei[cf]|hif|gif|bmp|dib|tiff?|jp2|ppm|mpo|txt|caption|zip)$/i;

  let ui = {};

  // The field, and the bar under it.
  function build() {
    ui = { drop: dropZone(), sent: part("div.lf-bar", { hidden: true, role: "progressbar" }, part("i")) };
    return [ui.drop, ui.sent];
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
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation(); // the hosts take dropped pictures for their own
      zone.classList.remove("lf-over");
      guarded(async () => send(await dropped(event.dataTransfer)));
    });
    return zone;
  }

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

  async function send(files) {
    const known = files.filter((file) => KINDS.test(file.name) && !file.name.startsWith("."));
    const name = project(); // of now: another may be chosen while they are sent
    if (!files.length) return;
    if (!name) return tell(say("no_project"), "error");
    if (!known.length) return tell(say("no_photos_in", { count: files.length }), "error");
    ui.sent.hidden = false;
    await guarded(async () => {
      let batch = null;
      const refused = [];
      for (const [index, file] of known.entries()) {
        tell(say("sending", { done: index + 1, total: known.length, name: file.name }));
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
      tell(say("reading"));
      const body = { project: name, trigger_word: triggerWord(name), batch };
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
    tell(parts.join(" "), answer.imported || answer.present ? "good" : "error");
    if (!answer.skipped.length) return;
    const rows = answer.skipped.map((one) => part("li", {}, part("b", {}, one.name), ` ${one.reason}`));
    desk.line.append(
      part("details.lf-list", { open: rows.length < 6 }, part("summary", {}, say("skipped", { count: rows.length })), part("ul", {}, ...rows))
    );
  }

  document.addEventListener("paste", (event) => {
    if (!desk.place || kit.step() !== "photos" || !forge.isVisible()) return;
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

  const show = () => ui.drop.scrollIntoView({ block: "center" });

  desk.bring = { build, show };

  // What the Train step's form says, if it is this project's: a new one is not to inherit the word of another.
  function triggerWord(name) {
    const { told, trigger } = (forge.train && forge.train.form) || {};
    return told && told.project === name ? trigger.trim() : "";
  }
})();
