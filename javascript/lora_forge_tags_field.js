"use strict";
// The Tags step: a field for tags that knows the dictionary, in English and in Chinese.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.tags || forge.tags.suggesting) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { get, part, put } = kit;
  const desk = forge.tags;

  // `take` is given the tags that were picked or typed.
  function suggesting(label, take) {
    const input = part("input.lf-wide", { placeholder: label, autocomplete: "off", role: "combobox", "aria-expanded": "false" });
    input.setAttribute("aria-label", label);
    const list = part("ul.lf-suggestions", { hidden: true, role: "listbox" });
    const box = part("div.lf-suggesting", {}, input, list);
    let shown = [];
    let at = -1;
    let asking = null;
    const close = () => {
      list.hidden = true;
      at = -1;
      input.setAttribute("aria-expanded", "false");
    };
    const mark = () => [...list.children].forEach((row, index) => row.setAttribute("aria-selected", String(index === at)));
    const pick = (tags) => {
      input.value = "";
      close();
      take(tags);
    };
    const last = () => input.value.split(/[,，]/).pop().trim();
    const ask = kit.debounce(50, async () => {
      const text = last();
      if (asking) asking.abort();
      if (!text) return close();
      asking = new AbortController();
      try {
        const told = await get("tags/suggest", { project: desk.shownProject, text, limit: 12 }, { signal: asking.signal });
        if (text !== last()) return;
        shown = told.suggestions;
      } catch (_) {
        return;
      }
      for (const one of shown) desk.words[one.tag] = { zh: one.zh, category: one.category };
      at = -1;
      put(list,
        ...shown.map((one) =>
          part(
            "li",
            { role: "option", onmousedown: (event) => (event.preventDefault(), pick([one.tag])) },
            part("span", {}, one.tag),
            part("small", {}, [one.zh, one.count ? `×${one.count}` : ""].filter(Boolean).join("  "))
          )
        )
      );
      list.hidden = !shown.length;
      input.setAttribute("aria-expanded", String(Boolean(shown.length)));
    });
    input.addEventListener("input", ask);
    input.addEventListener("blur", close);
    input.addEventListener("keydown", (event) => {
      if (event.isComposing) return; // a Chinese input method uses Enter itself
      const ways = { ArrowDown: 1, ArrowUp: -1 };
      if (event.key in ways && shown.length && !list.hidden) at = (at + ways[event.key] + shown.length) % shown.length;
      else if (event.key === "Enter" && at >= 0 && !list.hidden) pick([shown[at].tag]);
      else if (event.key === "Enter") {
        const tags = desk.tagsIn(input.value);
        if (!tags.length) return;
        pick(tags.map(english));
      } else if (event.key === "Escape" && !list.hidden) close();
      else return;
      mark();
      event.preventDefault();
      event.stopPropagation();
    });
    // 粉色衬衫 typed in full is "pink shirt", when the dictionary knows it
    const english = (text) => {
      const known = shown.find((one) => one.zh === text || one.tag === text);
      return known ? known.tag : text;
    };
    box.value = () => input.value.trim();
    box.tags = () => input.value.split(/[,，]/).map((tag) => tag.trim()).filter(Boolean).map(english);
    box.clear = () => (input.value = "");
    return box;
  }

  desk.suggesting = suggesting;
})();
