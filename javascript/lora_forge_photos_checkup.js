"use strict";
// The Photos step: what the doctor found, and its remedies.

(() => {
  const forge = window.loraForge;
  if (!forge || !forge.photos || forge.photos.checkup) return; // the host's Reload UI loads this file again
  const kit = forge.kit;
  const { button, get, part, post, project, put } = kit;
  const desk = forge.photos;
  const { changed, guarded, refresh, say, setField, tell } = desk;
  const ORDER = { red: 0, yellow: 1, green: 2 };

  let ui = {};
  let report = null; // the doctor's last

  function build() {
    ui = { findings: part("div.lf-findings") };
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
    await guarded(async () => {
      const resolution_px = kit.number("#lora_forge_resolution input", 512);
      await post("photos/checkup", { project: project(), kind: kit.kind(), resolution_px });
      tell("");
      await kit.startedChore();
    });
  }

  function clear() {
    report = null;
    drawReport();
  }

  async function load(name) {
    const told = await get("photos/checkup", { project: name }).catch(() => null); // there may be none yet
    if (name !== desk.shownProject) return;
    report = told && told.made_at ? told : null; // nobody has looked yet
    drawReport();
    desk.grid.draw();
  }

  function drawReport() {
    put(ui.findings);
    ui.detector.textContent = "";
    if (!report) return;
    if (report.is_stale) ui.findings.append(part("div.lf-note.lf-warning", {}, say("stale")));
    const sorted = [...report.findings].sort((a, b) => ORDER[a.light] - ORDER[b.light]);
    const good = sorted.filter((one) => one.light === "green" && one.is_judged);
    const bad = sorted.filter((one) => one.light !== "green" || !one.is_judged);
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
    const light = finding.is_judged ? finding.light : "grey"; // without a pack nobody can say who somebody is
    row.append(part(`i.lf-light.lf-${light}`, { title: say(light) }), title);
    if (finding.light !== "green" && finding.photos.length) {
      row.append(button(say("show_photos", { count: finding.photos.length }), () => desk.wall.show(finding.photos)));
    }
    for (const remedy of finding.light === "green" ? [] : finding.remedies) row.append(remedyOf(finding, remedy));
    row.append(part("p", {}, finding.why));
    return row;
  }

  // Some remedies are done by the program, some by hand, some are advice.
  function remedyOf(finding, remedy) {
    const byHand = {
      mark_face: () => {
        desk.wall.show(finding.photos);
        desk.viewer.open(finding.photos[0], "face");
      },
      lower_resolution: () => setField("#lora_forge_resolution input", finding.numbers.fitting_px),
      add_photos: () => desk.bring.show(),
    };
    return button(remedy.label, byHand[remedy.id] || (() => cure(finding, remedy)));
  }

  async function cure(finding, remedy) {
    await guarded(async () => {
      const name = desk.shownProject;
      const answer = await post("photos/remedy", { project: name, finding: finding.id, remedy: remedy.id, keys: null });
      tell(answer.did, "good");
      if (answer.undo) desk.line.append(" ", button(say("take_back"), () => takeBack(name, answer.undo)));
      desk.wall.unfilter();
      await refresh();
      changed();
    });
  }

  async function takeBack(name, undo) {
    await guarded(async () => {
      const answer = await post("photos/remedy/undo", { project: name, undo });
      tell(answer.did, "good");
      await refresh();
      changed();
    });
  }

  // Faces are told apart with a pack; without one they are only found.
  const drawModels = () => forge.models.show(desk.place, ui.models, desk.line, (one) => one.kind === "faces", drawModels);

  // What stands on a photo's tile.
  const lightsOf = (key) =>
    report ? report.findings.filter((one) => one.light !== "green" && one.photos.includes(key)).slice(0, 4) : [];

  desk.checkup = { build, clear, drawModels, lightsOf, load };
})();
