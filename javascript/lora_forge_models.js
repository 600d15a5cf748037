"use strict";
// Models that can be fetched: size, source, terms, progress, a mirror, and "I have the file". Nothing is fetched unasked.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.kit || forge.models) return;
  const { button, get, guarded, part, post, put, say, startedChore, tell } = forge.kit;

  const amount = (bytes) => (bytes > 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${Math.max(1, Math.round(bytes / 1e6))} MB`);

  // Fill `box` with the models that `fits` picks; `place` has the words, `line` is where things are told, `changed` is
  // called when one has come by another way than a download.
  async function show(place, box, line, fits, changed) {
    const number = (box.asked = (box.asked || 0) + 1);
    const known = await get("downloads", {}).catch(() => null);
    if (number !== box.asked) return box; // asked for again meanwhile
    if (!known) return put(box);
    const mirror = part("input.lf-wide", { value: known.mirror || "", placeholder: "https://" });
    const keep = () =>
      guarded(line, async () => {
        await post("downloads/mirror", { url: mirror.value.trim() });
        tell(line, say(place, "kept"), "good");
      });
    const fold = part(
      "details.lf-list",
      { open: box.dataset.open === "true", ontoggle: (event) => (box.dataset.open = String(event.target.open)) },
      part("summary", {}, say(place, "downloads_title")),
      ...known.downloads.filter(fits).map((one) => row(place, line, one, changed)),
      part(
        "div.lf-tools",
        { title: say(place, "mirror_hint") },
        part("label.lf-field", {}, part("span", {}, say(place, "mirror")), mirror),
        button(say(place, "keep"), keep)
      )
    );
    return put(box, fold);
  }

  function row(place, line, one, changed) {
    const isThere = one.state === "present";
    const title = [part("b", {}, one.name), part("small", {}, ` ${one.source} · ${one.licence}`)];
    const parts = [...title, part("p", {}, one.sentence || "")];
    if (!isThere) parts.push(...ways(place, line, one, changed));
    return part("div.lf-download", { data: { id: one.id } }, ...parts);
  }

  function ways(place, line, one, changed) {
    const accept = part("input", { type: "checkbox" });
    const path = part("input", { placeholder: say(place, "file_path") });
    const sizes = { done: amount(one.done_bytes), size: amount(one.size_bytes) };
    const start = () =>
      guarded(line, async () => {
        await post("downloads/start", { id: one.id, accept_licence: accept.checked });
        await startedChore();
      });
    const use = () =>
      guarded(line, async () => {
        await post("downloads/use", { id: one.id, path: path.value.trim() });
        changed();
      });
    const link = one.licence_url ? part("a", { href: one.licence_url, target: "_blank", rel: "noreferrer" }, one.licence) : null;
    return [
      one.terms ? part("p.lf-terms", {}, one.terms, " ", link) : null,
      part(
        "div.lf-tools",
        {},
        one.needs_licence ? part("label", {}, accept, part("span", {}, say(place, "accept"))) : null,
        button(say(place, one.state === "partial" ? "resume_download" : "download", sizes), start),
        path,
        button(say(place, "have_file"), use)
      ),
    ];
  }

  forge.models = { show };
})();
