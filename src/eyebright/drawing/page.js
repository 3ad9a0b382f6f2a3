(() => {
  "use strict";
  const about = document.getElementById("about");
  const views = [...document.querySelectorAll(".view")];
  const tabs = document.getElementById("tabs");
  let chosen = null;

  const add = (parent, kind, text, style) => {
    const element = document.createElement(kind);
    if (text) element.textContent = text;
    if (style) element.className = style;
    parent.append(element);
    return element;
  };

  // One view at a time; on paper, and without this script, all of them.
  tabs.setAttribute("role", "tablist");
  const show = (number) => {
    views.forEach((view, place) => { view.hidden = place !== number; });
    [...tabs.children].forEach((tab, place) => {
      tab.setAttribute("aria-selected", String(place === number));
      tab.tabIndex = place === number ? 0 : -1;
    });
    hide();
  };
  views.forEach((view, number) => {
    const tab = add(tabs, "button", view.dataset.title);
    tab.type = "button";
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", view.id);
    view.setAttribute("role", "tabpanel");
    view.setAttribute("aria-label", view.dataset.title);
    tab.addEventListener("click", () => show(number));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = (number + step + views.length) % views.length;
      show(next);
      tabs.children[next].focus();
    });
  });

  const tell = (layer) => {
    if (chosen) chosen.classList.remove("chosen");
    chosen = layer;
    layer.classList.add("chosen");
    about.replaceChildren();
    const picture = document.querySelector(`#pictures img[data-for="${CSS.escape(layer.dataset.layer)}"]`);
    if (picture) about.append(picture.cloneNode());
    const words = add(about, "div");
    add(words, "strong", layer.dataset.name);
    add(words, "p", layer.dataset.does);
    add(words, "p", layer.dataset.figures, "quiet");
    const close = add(about, "button", "close");
    close.type = "button";
    close.addEventListener("click", hide);
    about.hidden = false;
  };
  function hide() {
    if (chosen) chosen.classList.remove("chosen");
    chosen = null;
    about.hidden = true;
  }
  // What is closed makes the page move below a mouse that rests; browsers call that entering, too.
  let rests = [NaN, NaN];
  const moved = (event) => event.clientX !== rests[0] || event.clientY !== rests[1];
  document.addEventListener("pointermove", (event) => { rests = [event.clientX, event.clientY]; });
  document.querySelectorAll(".layer").forEach((layer) => {
    layer.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse" && moved(event)) tell(layer); });
    layer.addEventListener("focus", () => tell(layer));
    layer.addEventListener("click", () => tell(layer));
    layer.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); tell(layer); } });
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

  views.forEach((view) => {
    const canvas = view.querySelector(".canvas");
    if (!canvas) return;
    const drawing = canvas.querySelector("svg");
    const natural = Number(drawing.getAttribute("width"));
    let zoom = 0;
    const turn = (step) => {
      if (step === 0) {
        zoom = 0;
        drawing.style.width = drawing.style.minWidth = "";
        return;
      }
      const now = zoom || drawing.getBoundingClientRect().width / natural;
      const middle = (canvas.scrollLeft + canvas.clientWidth / 2) / drawing.getBoundingClientRect().width;
      zoom = Math.min(6, Math.max(0.3, now * (step > 0 ? 1.3 : 1 / 1.3)));
      drawing.style.width = drawing.style.minWidth = `${natural * zoom}px`;
      canvas.scrollLeft = middle * natural * zoom - canvas.clientWidth / 2;
    };
    const bar = view.querySelector(".zoom");
    bar.hidden = false;
    bar.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) turn(Number(button.dataset.zoom));
    });
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      turn(event.deltaY < 0 ? 1 : -1);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      if (event.key === "+" || event.key === "=") turn(1);
      else if (event.key === "-") turn(-1);
      else if (event.key === "0") turn(0);
    });
  });

  tabs.hidden = false;
  show(0);
})();
