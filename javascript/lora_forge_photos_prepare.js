"use strict";
// The Photos step: preparing the photos for a run: their size, their crops and an extra set of faces.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.photos || forge.photos.prepare) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { button, get, part, post, project } = kit;
  const desk = forge.photos;
  const { guarded, say, setField, tell } = desk;

  let own = {}; // the fields

  function field(key, input, hint) {
    return part("label.lf-field", { title: hint ? say(hint) : "" }, part("span", {}, say(key)), input);
  }

  function choices(names, value) {
    return part("select", {}, ...names.map((name) => part("option", { value: name, selected: name === value }, say(name))));
  }

  function build() {
    const fields = {
      resolution: part("input", { type: "number", min: 64, step: 64, value: kit.number("#lora_forge_resolution input", 512) }),
      memory: part("span.lf-quiet"),
      crop: choices(["subject", "middle"], "subject"),
      buckets: part("input", { type: "checkbox", checked: true }),
      faces: part("input", { type: "checkbox", checked: false }),
      padding: part("input", { type: "number", min: 0, max: 2, step: 0.1, value: 0.4 }),
      repeats: part("input", { type: "number", min: 1, step: 1, placeholder: say("automatic") }),
    };
    own = fields;
    fields.resolution.addEventListener("input", () => {
      setField("#lora_forge_resolution input", fields.resolution.value);
      estimateSoon();
    });
    const faceOnly = [fields.padding, fields.repeats];
    const enable = () => faceOnly.forEach((one) => (one.disabled = !fields.faces.checked));
    fields.faces.addEventListener("change", enable);
    enable();
    const start = button(say("process"), startProcess, { id: "lora_forge_process" });
    start.classList.add("lf-primary");
    return part(
      "section.lf-part",
      {},
      part("div.lf-tools", {}, part("h4", {}, say("process_title")), part("span.lf-quiet", {}, say("process_hint"))),
      part(
        "div.lf-tools",
        {},
        field("resolution", fields.resolution, "resolution_hint"),
        fields.memory,
        field("crop", fields.crop, "crop_hint"),
        field("buckets", fields.buckets, "buckets_hint"),
        field("face_set", fields.faces, "face_set_hint"),
        field("padding", fields.padding, "padding_hint"),
        field("face_repeats", fields.repeats, "repeats_hint"),
        start
      )
    );
  }

  // One number, two fields: the Train step has it too, and follows the type and the checkpoint.
  const estimate = kit.newest(async () => {
    const asked = { resolution_px: own.resolution.value, kind: kit.kind() };
    const told = await get("memory", asked).catch((problem) => ({ sentence: problem.message, fits: true }));
    own.memory.textContent = told.sentence;
    own.memory.classList.toggle("lf-short", !told.fits);
  });
  const estimateSoon = kit.debounce(300, estimate);

  function follow() {
    const known = String(kit.number("#lora_forge_resolution input", 512));
    const seen = `${known} ${kit.kind()}`;
    if (document.activeElement === own.resolution || own.seen === seen) return;
    own.seen = seen;
    own.resolution.value = known;
    estimateSoon();
  }

  async function startProcess() {
    await guarded(async () => {
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
      tell("");
      await kit.startedChore();
    });
  }

  desk.prepare = { build, follow };
})();
