"use strict";
// The Tags step: the trait assistant: what is part of the subject, and what shall stay changeable.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.tags || forge.tags.traits) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { $, button, get, part, post, put } = kit;
  const desk = forge.tags;
  const { answered, edit, inTurn, named, say, tell } = desk;

  let box = null;
  const given = { project: null, answers: {} }; // ticked, not applied yet

  function build() {
    box = part("section.lf-part");
    return box;
  }

  const draw = kit.newest(async () => {
    const name = desk.shownProject;
    const told = await get("traits", { project: name, kind: kit.kind() }).catch(() => null);
    if (name !== desk.shownProject) return; // whoever shows another one draws it
    if (told && desk.order.length) showTraits(told);
    else put(box);
  });

  function showTraits(told) {
    if (given.project !== desk.shownProject) Object.assign(given, { project: desk.shownProject, answers: {} });
    const answers = {};
    const rows = told.groups.flatMap((group) => [
      part("h5", {}, group.title),
      ...group.traits.map((trait) => traitRow(trait, answers)),
    ]);
    const sentence = part("p", {}, told.sentence || "");
    const apply = button(say("apply_traits"), () => applyTraits(answers));
    apply.classList.add("lf-primary");
    apply.id = "lora_forge_apply_traits";
    put(box,
      part("div.lf-tools", {}, part("h4", {}, say("traits_title")), part("span.lf-quiet", {}, say("traits_hint"))),
      contradictionsPart(told.contradictions || []),
      part("div.lf-traits", {}, ...rows),
      sentence,
      examplesPart(told.examples || []),
      part(
        "div.lf-tools",
        {},
        apply,
        button(say("accept_all"), () => {
          for (const trait of told.groups.flatMap((group) => group.traits)) {
            if (!trait.answer) {
              const radio = $(`input[name="${CSS.escape(`lf-trait-${trait.tag}`)}"][value="${trait.proposal}"]`, box);
              if (radio) radio.click();
            }
          }
        })
      )
    );
  }

  function traitRow(trait, answers) {
    const chosen = given.answers[trait.tag] || trait.answer || "";
    if (chosen) answers[trait.tag] = chosen;
    const radios = ["part", "changeable", "leave"].map((value) => {
      const radio = part("input", { type: "radio", name: `lf-trait-${trait.tag}`, value, checked: value === chosen, onchange: () => (answers[trait.tag] = given.answers[trait.tag] = value) });
      const label = part("label", { title: value === trait.proposal ? trait.why : "" }, radio, part("span", {}, say(value)));
      if (value === trait.proposal) label.append(part("small", {}, ` ${say("proposed")}`));
      return label;
    });
    const share = Math.round(100 * trait.share);
    const fill = button(say("complete"), () => applyTraits({ ...answers, [trait.tag]: "changeable" }, [trait.tag]), { hidden: trait.share >= 1 || trait.share < 0.6 });
    return part(
      "div.lf-trait",
      { data: { tag: trait.tag } },
      part("span.lf-name", { title: trait.why || "" }, ...named(trait.tag), part("small", {}, ` ${say("share", { count: trait.count, share })}`)),
      part("span.lf-radios", {}, ...radios),
      fill
    );
  }

  function examplesPart(examples) {
    if (!examples.length) return null;
    return part("div", {}, part("b", {}, say("examples")), ...examples.map((text) => part("code.lf-example", {}, text)));
  }

  function contradictionsPart(contradictions) {
    if (!contradictions.length) return null;
    return part(
      "div.lf-note.lf-warning",
      {},
      part("b", {}, say("contradictions")),
      ...contradictions.map((one) =>
        part(
          "div.lf-tools",
          {},
          part("span", {}, one.sentence),
          button(say("found", { count: one.photos.length, total: desk.order.length }), () => desk.wall.showOnly(one.photos)),
          ...one.fixes.map((fix) => button(fix.label, () => mend(one, fix)))
        )
      )
    );
  }

  async function mend(contradiction, fix) {
    if (fix.operation) await edit(fix.operation, fix.keys || contradiction.photos);
    if (Object.keys(fix.answers || {}).length) await applyTraits(fix.answers);
    else await draw();
  }

  async function applyTraits(answers, complete) {
    const name = desk.shownProject;
    let told = null;
    await inTurn(async () => {
      if (name !== desk.shownProject) return;
      await answered(async () => (told = await post("traits", { project: name, base: desk.book.revision, answers, complete: complete || [], kind: kit.kind() })));
    });
    if (!told || name !== desk.shownProject) return;
    given.answers = {};
    tell(say("applied"), "good");
    if (told.traits) showTraits(told.traits);
    else await draw();
  }

  desk.traits = { build, draw };
})();
