"use strict";
// The Photos step: what its files share: the project's photos, reading them, the trash, telling. The others add their
// part to it (bring, checkup, prepare, viewer, wall); the wall, loaded last, puts the step together.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.kit || forge.photos) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { $, button, get, part, post, project } = kit;

  let isLoading = false;

  const say = (key, values) => kit.say(desk.place, key, values);
  const tell = (text, kind) => kit.tell(desk.line, text, kind);
  const guarded = (act) => kit.guarded(desk.line, act);
  // The form beside us counts photos and steps too.
  const changed = kit.debounce(200, () => forge.press("#lora_forge_refresh"));

  const desk = {
    place: null, // the frame of the step, null until it is in the page
    line: null, // where things are told
    grid: null, // the wall's
    told: null, // the last answer of GET photos
    byKey: new Map(),
    shownProject: null,
    changed,
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

  async function refresh() {
    if (!desk.place || isLoading) return;
    const name = project();
    if (name !== desk.shownProject) {
      desk.shownProject = name;
      desk.wall.clear();
      desk.checkup.clear();
    }
    if (!name) return take({ photos: [], groups: [], trash: [] });
    isLoading = true;
    try {
      take(await get("photos", { project: name }));
      await desk.checkup.load();
    } catch (problem) {
      take({ photos: [], groups: [], trash: [] });
      // a name that was just typed is no project yet
      if (problem.status !== 400 && problem.status !== 404) tell(problem.message, "error");
    } finally {
      isLoading = false;
    }
  }

  function take(answer) {
    desk.told = { ...answer, photos: answer.photos.map((photo) => ({ ...photo, project: desk.shownProject })) };
    desk.byKey = new Map(desk.told.photos.map((photo) => [photo.key, photo]));
    desk.wall.draw();
    const hasTags = answer.photos.some((photo) => photo.caption);
    kit.suggest("photos", !answer.photos.length ? "photos" : hasTags ? "train" : "tags");
    if (answer.photos.some((photo) => !photo.width && !photo.problem)) setTimeout(refresh, 2000); // still being measured
  }

  // ------------------------------------------------------------------ out and back

  async function trash(keys) {
    if (!keys.length) return;
    const at = Math.min(...keys.map((key) => desk.grid.places.get(key) ?? 0));
    await guarded(async () => {
      const { numbers } = await post("photos/trash", { project: project(), keys });
      desk.told.photos = desk.told.photos.filter((photo) => !keys.includes(photo.key));
      tell(say("deleted", { count: numbers.length }), "info");
      desk.line.append(" ", button(say("restore_these"), () => restore(numbers)));
      await refresh();
      desk.grid.go(at);
      changed();
    });
  }

  async function restore(numbers) {
    await guarded(async () => {
      const { keys } = await post("photos/restore", { project: project(), numbers });
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
