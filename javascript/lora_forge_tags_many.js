"use strict";
// The Tags step: what acts on the captions of many photos at once, and captions as files.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.tags || forge.tags.many) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { button, part } = kit;
  const desk = forge.tags;
  const { answered, edit, inTurn, say, select, tell } = desk;

  let scope = null;

  function scopeKeys() {
    const by = { chosen: () => desk.grid.chosen(), found: () => desk.grid.keys, all: () => null };
    return by[scope.value]();
  }

  function ticked() {
    const tags = desk.set.ticked();
    if (!tags.length) tell(say("nothing_ticked"), "warning");
    return tags;
  }

  function removeTicked() {
    const tags = ticked();
    if (tags.length) edit({ kind: "remove", tags }, scopeKeys());
  }

  function build() {
    scope = select("scope_", ["chosen", "found", "all"], "all");
    const many = desk.suggesting(say("tag_entry"), (tags) => edit({ kind: "add", tags, position: where.value }, scopeKeys()));
    const where = select("add_", ["end", "front"], "end");
    const [find, to] = ["replace_find", "replace_to"].map((key) => part("input", { placeholder: say(key), "aria-label": say(key) }));
    const mode = select("mode_", ["tag", "text", "regex"], "tag");
    const sort = select("sort_", ["alpha", "count", "length", "dictionary"], "alpha");
    const typed = (kind) => {
      const tags = many.tags();
      many.clear();
      if (tags.length) edit(kind === "add" ? { kind, tags, position: where.value } : { kind, tags }, scopeKeys());
    };
    return part(
      "section.lf-part.lf-acts",
      {},
      part("label.lf-field", {}, part("span", {}, say("scope")), scope),
      part("div.lf-tools", {}, many, where, button(say("add"), () => typed("add")), button(say("remove_typed"), () => typed("remove"))),
      part(
        "div.lf-tools",
        {},
        button(say("remove"), removeTicked),
        button(say("front"), () => {
          const tags = ticked();
          if (tags.length) edit({ kind: "front", tags }, scopeKeys());
        }),
        button(say("untick"), () => desk.set.untick()),
        button(say("sort"), () => edit({ kind: "sort", by: sort.value, reverse: false }, scopeKeys())),
        sort,
        button(say("dedupe"), () => edit({ kind: "dedupe" }, scopeKeys())),
        button(say("clean"), () => edit({ kind: "clean" }, scopeKeys()), { title: say("clean_hint") })
      ),
      part(
        "div.lf-tools",
        {},
        find,
        to,
        mode,
        button(say("replace"), () => {
          if (find.value.trim()) edit({ kind: "replace", find: find.value.trim(), to: to.value.trim(), mode: mode.value }, scopeKeys());
        })
      )
    );
  }

  // ------------------------------------------------------------------ files

  function fileButtons() {
    const file = part("input", { type: "file", hidden: true, accept: ".json,.zip", onchange: readFile });
    const kinds = part("select", { "aria-label": say("export") }, ...["txt_zip", "kohya_json", "csv"].map((name) => part("option", { value: name }, name)));
    const save = () => {
      const link = part("a", { href: kit.address("tags/export", { project: desk.shownProject, format: kinds.value }), download: "" });
      link.click();
    };
    return part("span.lf-tools", {}, button(say("export"), save), kinds, button(say("import"), () => file.click(), { title: say("import_hint") }), file);
  }

  async function readFile(event) {
    const [file] = event.target.files;
    event.target.value = "";
    if (!file) return;
    const name = desk.shownProject;
    const headers = { "Content-Type": "application/octet-stream" };
    await inTurn(async () => {
      if (name !== desk.shownProject) return;
      const query = { project: name, base: desk.book.revision, client: desk.client, language: desk.place.dataset.language };
      await answered(() => kit.ask("tags/import", query, { method: "POST", headers, body: file }));
    });
  }

  desk.many = { build, fileButtons, removeTicked };
})();
