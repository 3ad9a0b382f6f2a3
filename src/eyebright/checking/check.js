"use strict";
// What was chosen for each finding, kept in the browser where it allows that, and written as decisions.csv.
(() => {
  const known = JSON.parse(document.getElementById("findings").textContent);
  const place = "eyebright-check-" + known.key;
  const choices = new Map();
  const articles = [...document.querySelectorAll(".finding")];

  const load = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(place) || "{}");
      for (const [id, choice] of Object.entries(kept)) {
        if (Object.hasOwn(known.findings, id) && ["accept", "dismiss"].includes(choice)) choices.set(id, choice);
      }
    } catch { /* no storage, or something else in it: then nothing has been chosen yet */ }
  };
  const keep = () => {
    try { localStorage.setItem(place, JSON.stringify(Object.fromEntries(choices))); } catch { /* only this visit */ }
  };

  const show = () => {
    const count = { accept: 0, dismiss: 0 };
    for (const article of articles) {
      const choice = choices.get(article.id);
      if (choice) { article.dataset.choice = choice; count[choice]++; } else { delete article.dataset.choice; }
      for (const button of article.querySelectorAll("button")) {
        button.setAttribute("aria-pressed", String(button.value === choice));
      }
    }
    const open = articles.filter(a => a.querySelector("button")).length - count.accept - count.dismiss;
    document.getElementById("state").textContent =
      `${count.accept} accepted, ${count.dismiss} dismissed, ${open} open`;
    document.getElementById("save").disabled = lines().length < 2;
  };
  const choose = (article, choice, toggle) => {
    if (![...article.querySelectorAll("button")].some(button => button.value === choice)) return;
    if (toggle && choices.get(article.id) === choice) choices.delete(article.id); else choices.set(article.id, choice);
  };

  // The same rules as in decisions.py: an apostrophe where a spreadsheet would see a formula, quotes where CSV needs them.
  const formula = /^'*[ \t\n\v\f\r\u00a0\u3000]*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/;
  const cell = text => {
    const inert = formula.test(text) ? "'" + text : text;
    return /[",\r\n]/.test(inert) ? '"' + inert.replaceAll('"', '""') + '"' : inert;
  };
  const rank = { keep: 0, relabel: 1, exclude: 2 };
  const lines = () => {
    const rows = new Map();
    for (const [id, choice] of choices) {
      const finding = known.findings[id];
      const wanted = choice === "accept" ? finding.accept
        : finding.samples.map(([sample, digest]) => [sample, digest, "keep", ""]);
      for (const [sample, digest, action, label] of wanted) {
        // A sample may be kept for several reasons; but what is left out needs no other label.
        const key = JSON.stringify(action === "keep" ? [sample, digest, finding.kind] : [sample, digest]);
        const other = rows.get(key);
        if (!other || rank[action] > rank[other[2]]) rows.set(key, [sample, digest, action, label, finding.kind]);
      }
    }
    return ["sample,digest,action,label,reason", ...[...rows.values()].map(row => row.map(cell).join(","))];
  };
  const save = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines().join("\n") + "\n"], { type: "text/csv" }));
    link.download = "decisions.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };

  document.addEventListener("click", event => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.id === "save") { save(); return; }
    if (button.dataset.kind) {
      const value = button.value === "reopen" ? null : button.value;
      for (const article of articles.filter(a => a.dataset.kind === button.dataset.kind)) {
        if (value) choose(article, value, false); else choices.delete(article.id);
      }
    } else {
      choose(button.closest(".finding"), button.value, true);
    }
    keep();
    show();
  });
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const able = articles.filter(a => a.querySelector("button"));
    const here = document.activeElement ? able.indexOf(document.activeElement.closest(".finding")) : -1;
    const go = index => able[index] && able[index].querySelector("button").focus();
    if (event.key === "j") go(here + 1);
    else if (event.key === "k") go(Math.max(0, here - 1));
    else if (here >= 0 && (event.key === "a" || event.key === "d")) {
      choose(able[here], event.key === "a" ? "accept" : "dismiss", true);
      keep();
      show();
    } else return;
    event.preventDefault();
  });
  load();
  show();
})();
