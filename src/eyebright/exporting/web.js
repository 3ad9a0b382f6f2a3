// The page itself: takes images, hands them to the worker one by one, and shows what comes back. All text that someone
// named goes in as text, never as markup.
(() => {
  "use strict";
  const MOST_SHOWN = 200;
  const find = (id) => document.getElementById(id);
  const about = JSON.parse(find("about").textContent);
  const status = find("status"), list = find("answers"), tools = find("tools"), input = find("files");
  const answers = [];
  let worker, ready = false, done = 0, unsure = 0, unread = 0, shown = 0;

  const say = (text, state) => {
    status.textContent = text;
    status.dataset.state = state;
  };
  const make = (tag, className, ...children) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...children);
    return element;
  };
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
  // Control and direction characters are shown escaped, as everywhere in Eyebright.
  const printable = (text) =>
    text.replace(/[\p{C}\p{Z}]/gu, (c) => {
      const code = c.codePointAt(0);
      if (c === " ") return c;
      if (code < 256) return `\\x${code.toString(16).padStart(2, "0")}`;
      return code < 65536 ? `\\u${code.toString(16).padStart(4, "0")}` : `\\U${code.toString(16).padStart(8, "0")}`;
    });
  const named = (text) => make("bdi", "", text);

  function bar(share) {
    const full = make("i");
    full.style.width = `${100 * share}%`;
    const box = make("span", "bar", full);
    box.setAttribute("aria-hidden", "true");
    return box;
  }

  function ranks(answer) {
    const table = make("table", "ranks");
    table.setAttribute("aria-label", "Classes with their probabilities, likeliest first");
    for (const k of answer.order.slice(0, 100)) {
      const name = make("th", "", named(about.shown[k]));
      name.scope = "row";
      const share = answer.probabilities[k];
      table.append(make("tr", "", name, make("td", "", bar(share)), make("td", "number", percent(share))));
    }
    return make("details", "", make("summary", "", about.shown.length > 100 ? "The first 100 classes" : "All classes"), table);
  }

  function describe(answer) {
    const text = make("div", "told");
    if (answer.error) {
      text.append(make("p", "label", "Not read"), make("p", "quiet", `This file ${answer.error}.`));
      return text;
    }
    if (!answer.labels.length) text.append(make("p", "label", "None of the classes"));
    for (const k of answer.labels) {
      const share = answer.probabilities[k];
      text.append(make("p", "label", named(about.shown[k])));
      text.append(make("p", "sure", bar(share), make("span", "number", percent(share))));
    }
    if (answer.unsure) text.append(make("p", "unsure", make("strong", "", "Unsure"), `: ${answer.unsure}`));
    if (answer.set.length > 1) {
      const rest = make("p", "quiet", "Can't be ruled out: ");
      answer.set.forEach((k, i) => rest.append(i ? ", " : "", named(about.shown[k])));
      text.append(rest);
    } else if (answer.set.length && !answer.unsure) text.append(make("p", "quiet", "Every other class is ruled out"));
    text.append(ranks(answer));
    return text;
  }

  function show(answer) {
    if (shown >= MOST_SHOWN) return;
    shown += 1;
    const frame = make("div", "frame");
    if (answer.thumbnail) {
      const canvas = make("canvas");
      canvas.width = answer.thumbnail.width;
      canvas.height = answer.thumbnail.height;
      canvas.getContext("bitmaprenderer").transferFromImageBitmap(answer.thumbnail);
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", printable(answer.name));
      if (Math.max(canvas.width, canvas.height) <= 48) canvas.classList.add("tiny");
      frame.append(canvas);
    } else frame.append(make("span", "quiet", "no preview"));
    const took = answer.milliseconds ? `, ${Math.round(answer.milliseconds)} ms` : "";
    const name = make("p", "file", named(printable(answer.name)), took);
    const item = make("li", `card answer${answer.unsure ? " doubtful" : ""}${answer.error ? " unread" : ""}`, frame);
    item.append(make("div", "body", name, describe(answer)));
    list.append(item);
  }

  function tell() {
    if (done < answers.length) {
      say(`${done.toLocaleString("en")} of ${plural(answers.length, "image")} classified …`, "busy");
      return;
    }
    const parts = [`${plural(done, "image")} classified`];
    if (unsure) parts.push(`${unsure.toLocaleString("en")} unsure`);
    if (unread) parts.push(`${unread.toLocaleString("en")} could not be read`);
    if (done > shown) parts.push(`the first ${shown} are shown, the CSV file has all`);
    say(parts.join(" · "), "ready");
  }

  function take(answer) {
    const given = answers[answer.id];
    Object.assign(given, answer);
    given.file = null;
    done += 1;
    unsure += Boolean(answer.unsure);
    unread += Boolean(answer.error);
    show(given);
    given.thumbnail = null;
    next();
    tell();
  }

  function next() {
    if (ready && done < answers.length) worker.postMessage({ kind: "classify", id: done, file: answers[done].file });
  }

  function add(files) {
    const waiting = done === answers.length;
    for (const { name, file } of files) answers.push({ name, file });
    if (!files.length) return;
    tools.hidden = false;
    document.body.classList.add("used");
    if (!ready) return say(`${plural(answers.length, "image")} wait until the network is there …`, "busy");
    if (waiting) next();
    tell();
  }

  // ---- the same columns as `eyebright predict --out answers.csv`

  // No spreadsheet is to compute what a file is called.
  const inert = (text) => (text.length > 1 && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text);
  const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  function spellCsv() {
    const names = (ks) => inert(ks.map((k) => about.classes[k]).join("|"));
    const head = ["path", "label", "confidence", "unsure", "set", "error", ...about.classes.map((name) => `p:${name}`)];
    const lines = answers.slice(0, done).map((answer) => {
      const path = inert(answer.name);
      if (answer.error) return [path, "", "", "", "", answer.error, ...about.classes.map(() => "")];
      const { labels, probabilities, set } = answer;
      const sure = labels.length ? probabilities[labels[0]].toFixed(6) : "";
      const shares = probabilities.map((share) => share.toFixed(6));
      return [path, names(labels), sure, answer.unsure || "", names(set), "", ...shares];
    });
    return [head, ...lines].map((line) => line.map(cell).join(",") + "\r\n").join("");
  }

  function save(name, content) {
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([content], { type: "text/plain;charset=utf-8" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  // ---- where images come from: chosen, dropped (folders, too) or pasted

  const given = (files) => Array.from(files, (file) => ({ name: file.webkitRelativePath || file.name, file }));
  async function walk(entry, found) {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      if (!file.name.startsWith(".")) found.push({ name: entry.fullPath.replace(/^\//, ""), file });
    } else if (entry.isDirectory) {
      const reader = entry.createReader(), children = [];
      for (;;) {
        const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
        if (!some.length) break;
        children.push(...some);
      }
      children.sort((a, b) => (a.name < b.name ? -1 : 1));
      for (const child of children) await walk(child, found);
    }
  }

  input.addEventListener("change", () => {
    add(given(input.files));
    input.value = "";
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("over");
  });
  addEventListener("drop", async (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    const entries = Array.from(event.dataTransfer.items, (item) => item.webkitGetAsEntry && item.webkitGetAsEntry());
    const files = given(event.dataTransfer.files), found = [];
    try {
      if (!entries.some((entry) => entry && entry.isDirectory)) return add(files);
      for (const entry of entries) if (entry) await walk(entry, found);
    } catch (error) {
      say(`The folder can't be read: ${error.message}`, "failed");
    }
    add(found);
  });
  addEventListener("paste", (event) => add(given(event.clipboardData.files)));
  find("save").addEventListener("click", () => save("answers.csv", spellCsv()));
  find("clear").addEventListener("click", () => {
    if (done < answers.length) return;
    answers.length = done = unsure = unread = shown = 0;
    list.replaceChildren();
    tools.hidden = true;
    document.body.classList.remove("used");
    say("Ready", "ready");
    input.focus();
  });
  find("notices").addEventListener("click", async () => {
    const text = atob(find("third-party").textContent);
    const packed = new Blob([Uint8Array.from(text, (c) => c.charCodeAt(0))]);
    save("third-party-notices.txt", await new Response(packed.stream().pipeThrough(new DecompressionStream("gzip"))).text());
  });

  // ---- start: the parts of this page that the worker needs

  function letGo(part) {
    return Array.from(document.querySelectorAll(`script[data-part="${part}"]`), (element) => {
      const text = element.textContent;
      element.remove(); // the page is large enough with one copy
      return text;
    });
  }

  function takeCheck({ pixels, share, reads }) {
    ready = true;
    const off = share < 1e-9 ? "no difference" : `${share.toExponential(0)} of the largest`;
    const same = pixels && share <= about.pattern.allowed;
    const proof = find("proof");
    if (same && reads) {
      proof.textContent = `When this page was opened it computed a test picture: pixels as in Python, logits too (off by ${off}).`;
    } else {
      const wrong = [];
      if (!pixels) wrong.push("its pixels are not those of Python");
      if (!(share <= about.pattern.allowed)) wrong.push(`its logits are not those of Python (off by ${off})`);
      if (!reads) wrong.push("this browser alters the pixels that a page reads, to protect you from being recognised");
      proof.textContent = `Answers may differ here: of a test picture, ${wrong.join("; ")}. Another browser may do better.`;
      proof.className = "notes";
      find("doubt").hidden = false;
    }
    document.body.dataset.check = JSON.stringify({ pixels, share, reads });
    if (answers.length) {
      next();
      tell();
    } else say("Ready", "ready");
  }

  function begin() {
    if (![window.Worker, window.OffscreenCanvas, window.DecompressionStream, window.createImageBitmap].every(Boolean)) {
      say("This browser is too old: it takes Chrome or Edge 85, Firefox 114 or Safari 16.4, or a newer one", "failed");
      return;
    }
    const script = new Blob([find("worker").textContent], { type: "text/javascript" });
    worker = new Worker(URL.createObjectURL(script));
    worker.onmessage = ({ data }) => {
      if (data.kind === "ready") takeCheck(data.check);
      else if (data.kind === "failed") say(`The network can't be run here: ${data.reason}`, "failed");
      else take(data);
    };
    worker.onerror = () => say("The network can't be run here: this browser does not let the page start a worker", "failed");
    worker.postMessage({
      kind: "start",
      about,
      runtime: find("runtime").textContent,
      wasm: letGo("wasm"),
      network: letGo("network"),
      references: letGo("references"),
    });
  }
  begin();
})();
