"use strict";
// A cell of a confusion matrix shows its images: chosen by mouse, touch, Enter or Space; arrow keys go from cell to cell.
(() => {
  const known = JSON.parse(document.getElementById("cells").textContent);
  const cells = [...document.querySelectorAll("button[data-cell]")];
  let chosen = null;

  const element = (kind, name, ...inside) => {
    const made = document.createElement(kind);
    if (name) made.className = name;
    made.append(...inside);
    return made;
  };
  const named = text => element("bdi", "", text);

  // Below the last card of the chosen one's line, so that no card is torn from its neighbours.
  const panel = element("div", "cell-images");
  panel.id = "cell-images";
  panel.setAttribute("role", "region");
  const status = element("p", "");
  status.setAttribute("role", "status");
  const place = card => {
    panel.remove();
    let last = card;
    while (last.nextElementSibling && last.nextElementSibling.offsetTop === card.offsetTop) last = last.nextElementSibling;
    last.after(panel);
  };

  const figure = (row, label) => {
    const [name, source] = known.pictures[row[0]];
    let shown = element("span", "thumb none", "no preview");
    if (source !== null) {
      const image = element("img", "");
      image.addEventListener("load", () => { if (image.naturalWidth <= 48) image.className = "tiny"; });
      image.src = source;
      image.alt = `Image labelled ${label}`;
      shown = element("span", "thumb", image);
    }
    const caption = element("small", "", named(name.split("/").pop()));
    caption.title = name;
    const words = row[1] < 0 ? [] : [element("span", "", `${row[1]}\u00a0%`)];
    return element("figure", "mistake", shown, element("figcaption", "", ...words, caption));
  };

  const close = () => {
    if (!chosen) return;
    chosen.setAttribute("aria-expanded", "false");
    panel.remove();
    chosen = null;
  };
  const open = cell => {
    close();
    const [network, label, said] = cell.dataset.cell.split(",");
    const rows = known.networks[network][`${label},${said}`] || [];
    const names = [known.classes[label], known.classes[said]];
    const total = Number(cell.dataset.count);
    const order = label === said ? "least sure first" : "surest first";
    const how = total === 1 ? "One image." : rows.length < total
      ? `${rows.length} of ${total} images, ${order}; the file would grow too large with all.`
      : `All ${total} images, ${order}.`;
    const title = element("h3", "", `${cell.dataset.title}: labelled `, named(names[0]), ", said ", named(names[1]));
    const away = element("button", "close", "Close");
    away.type = "button";
    away.addEventListener("click", () => { const from = chosen; close(); if (from) from.focus(); });
    status.textContent = how;
    panel.setAttribute("aria-label", `${cell.dataset.title}: labelled ${names[0]}, said ${names[1]}`);
    const thumbs = element("div", "thumbs", ...rows.map(row => figure(row, names[0])));
    thumbs.tabIndex = 0;  // many images scroll, by keyboard too
    thumbs.setAttribute("role", "group");
    thumbs.setAttribute("aria-label", "Images");
    panel.replaceChildren(element("div", "cell-head", title, away), status, thumbs);
    place(cell.closest(".card"));
    cell.setAttribute("aria-expanded", "true");
    chosen = cell;
    panel.scrollIntoView({ block: "nearest" });
  };

  // One stop of the Tab key for each matrix; from there the arrow keys lead to the nearest cell in their direction.
  const matrices = new Map();
  for (const cell of cells) {
    const table = cell.closest("table");
    if (!matrices.has(table)) matrices.set(table, []);
    matrices.get(table).push(cell);
  }
  for (const of of matrices.values()) of.forEach((cell, i) => { cell.tabIndex = i ? -1 : 0; });
  const at = cell => [cell.closest("tr").rowIndex, cell.closest("td").cellIndex];
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const next = (cell, [down, right]) => {
    const [y, x] = at(cell);
    const away = other => {
      const [v, u] = at(other);
      const along = (v - y) * down + (u - x) * right, aside = Math.abs((v - y) * right) + Math.abs((u - x) * down);
      return along > 0 ? along + 4 * aside : Infinity;
    };
    const others = matrices.get(cell.closest("table"));
    const best = others.reduce((a, b) => away(b) < away(a) ? b : a);
    return away(best) < Infinity ? best : null;
  };

  for (const cell of cells) {
    cell.disabled = false;
    cell.addEventListener("click", () => { if (chosen === cell) close(); else open(cell); });
    cell.addEventListener("focus", () => {
      for (const other of matrices.get(cell.closest("table"))) other.tabIndex = other === cell ? 0 : -1;
    });
    cell.addEventListener("keydown", event => {
      const to = steps[event.key] && next(cell, steps[event.key]);
      if (!steps[event.key]) return;
      event.preventDefault();
      if (to) to.focus();
    });
  }
  document.addEventListener("keydown", event => {
    if (event.key !== "Escape" || !chosen) return;
    const from = chosen;
    close();
    from.focus();
  });
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width && chosen) place(chosen.closest(".card"));
    width = innerWidth;
  });
  document.getElementById("cells-words").hidden = false;
})();
