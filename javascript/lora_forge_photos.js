"use strict";
// The Photos step: what its files share: the project's photos, reading them, the trash, telling. The others add their
// part to it (bring, checkup, prepare, viewer, wall); the wall, loaded last, puts the step together.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.kit || forge.photos) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { $, button, get, part, post, project } = kit;

  const NOTHING = { photos: [], groups: [], trash: [] };
  let asked = null; // the project that is looked for

  const say = (key, values) => kit.say(desk.place, key, values);
  const tell = (text, kind) => kit.tell(desk.line, text, kind);
  const guarded = (act) => kit.guarded(desk.line, act);
  // The forms beside us count photos and steps too; a project's first photos make it.
  const changed = kit.debounce(200, () => {
    forge.press("#lora_forge_refresh");
    forge.train.load();
  });
  const read = kit.newest(look);
  const readLater = kit.debounce(2000, read);

  const desk = {
    place: null, // the frame of the step, null until it is in the page
    line: null, // where things are told
    grid: null, // the wall's
    told: null, // the last answer of GET photos
    byKey: new Map(),
    shownProject: null, // whose photos these are; the field at the top may say another by now
    changed,
    follow,
    guarded,
    openDialog,
    refresh,
    restore,
    say,
    setField,
    tell,
    trash,
  };

  // ------------------------------------------------------------------ what is there

  // Another project begins with nothing chosen.
  async function refresh() {
    if (!desk.place) return;
    if (project() !== asked) {
      asked = project();
      desk.wall.clear();
      desk.checkup.clear();
    }
    await read();
  }

  function follow() {
    if (project() !== asked) refresh();
  }

  async function look() {
    const name = asked;
    try {
      const answer = name ? await get("photos", { project: name }) : NOTHING;
      if (name !== asked) return; // who asked for another one looks again
      take(name, answer);
      if (name) await desk.checkup.load(name);
    } catch (problem) {
      if (name !== asked) return;
      take(name, NOTHING);
      // a name that was just typed is no project yet
      if (problem.status !== 400 && problem.status !== 404) tell(problem.message, "error");
    }
  }

  function take(name, answer) {
    desk.shownProject = name;
    desk.told = { ...answer, photos: answer.photos.map((photo) => ({ ...photo, project: name })) };
    desk.byKey = new Map(desk.told.photos.map((photo) => [photo.key, photo]));
    desk.wall.draw();
    const hasTags = answer.photos.some((photo) => photo.caption);
    kit.suggest("photos", !answer.photos.length ? "photos" : hasTags ? "train" : "tags");
    if (answer.photos.some((photo) => !photo.width && !photo.problem)) readLater(); // still being measured
  }

  // ------------------------------------------------------------------ out and back

  async function trash(keys) {
    if (!keys.length) return;
    const at = Math.min(...keys.map((key) => desk.grid.places.get(key) ?? 0));
    const name = desk.shownProject;
    await guarded(async () => {
      const { numbers } = await post("photos/trash", { project: name, keys });
      desk.told.photos = desk.told.photos.filter((photo) => !keys.includes(photo.key));
      tell(say("deleted", { count: numbers.length }), "info");
      desk.line.append(" ", button(say("restore_these"), () => restore(numbers, name)));
      await refresh();
      desk.grid.go(at);
      changed();
    });
  }

  async function restore(numbers, name = desk.shownProject) {
    await guarded(async () => {
      const { keys } = await post("photos/restore", { project: name, numbers });
      tell(say("restored", { count: keys.length }), "good");
      await refresh();
      desk.grid.select(keys);
      changed();
    });
  }

  // ------------------------------------------------------------------ for the parts

  // As if it had been typed: the form's own fields are gradio's.
  function setField(selector, value) {
    const field = $(selector);
    if (!field) return;
    field.value = String(value);
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.dispatchEvent(new Event("change", { bubbles: true }));
  }

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

  forge.photos = desk;
})();
