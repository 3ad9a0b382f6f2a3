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
        if (Object.hasOwn(known.findings, id) && /^(accept|dismiss|only\d)$/.test(choice)) choices.set(id, choice);
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
      if (choice) {
        article.dataset.choice = choice === "dismiss" ? choice : "accept";
        count[article.dataset.choice]++;
      } else { delete article.dataset.choice; }
      for (const button of article.querySelectorAll("button")) {
        button.setAttribute("aria-pressed", String(button.value === choice));
      }
    }
    const open = articles.filter(a => a.querySelector("button")).length - count.accept - count.dismiss;
    const before = known.earlier.length ? `, and ${known.earlier.length} decided before` : "";
    document.getElementById("state").textContent =
      `${count.accept} accepted, ${count.dismiss} dismissed, ${open} open${before}`;
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
  const decided = (finding, choice) => {
    if (choice === "accept") return finding.accept;
    const only = choice.startsWith("only") ? Number(choice.slice(4)) : -1;
    return finding.samples.map(([sample, digest], place) =>
      [sample, digest, only < 0 || place === only ? "keep" : "exclude", ""]);
  };
  const rank = { keep: 0, relabel: 1, exclude: 2 };
  const lines = () => {
    const rows = new Map();
    // A sample may be kept for several reasons; but what is left out needs no other label.
    const keyOf = (sample, digest, action, kind) =>
      JSON.stringify(action === "keep" ? [sample, digest, kind] : [sample, digest]);
    for (const row of known.earlier) rows.set(keyOf(row[0], row[1], row[2], row[4]), row);
    const fresh = new Set();
    for (const [id, choice] of choices) {
      const finding = known.findings[id];
      for (const [sample, digest, action, label] of decided(finding, choice)) {
        const key = keyOf(sample, digest, action, finding.kind);
        const other = rows.get(key);
        // What was decided before gives way to what is decided now.
        if (!other || !fresh.has(key) || rank[action] > rank[other[2]]) {
          rows.set(key, [sample, digest, action, label, finding.kind]);
        }
        fresh.add(key);
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
