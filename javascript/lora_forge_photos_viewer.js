"use strict";
// The Photos step: one photo, large, and the boxes drawn on it: its crop and its face.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.photos || forge.photos.viewer) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { $, button, part, post } = kit;
  const desk = forge.photos;
  const { openDialog, refresh, say, trash } = desk;

  function openViewer(key, mode) {
    const photo = desk.byKey.get(key);
    if (!photo || photo.problem) return;
    const dialog = openDialog(photo.key);
    dialog.classList.add("lf-viewer");
    const stage = part("div.lf-stage");
    const img = part("img", { src: kit.picture(photo, 1024), alt: photo.name, draggable: false });
    stage.append(img);
    const line = part("div.lf-told", { hidden: true });
    const editor = boxEditor(stage, photo);
    const keep = async (route, box) => {
      await kit.guarded(line, async () => {
        await post(route, { project: photo.project, key, box });
        await refresh();
        kit.tell(line, say("kept"), "good");
      });
    };
    const neighbour = (way) => {
      const at = desk.grid.places.get(key) + way;
      if (at < 0 || at >= desk.grid.keys.length) return;
      dialog.close();
      desk.grid.go(at);
      openViewer(desk.grid.keys[at]);
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

  desk.viewer = { open: openViewer };
})();
