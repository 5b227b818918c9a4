"use strict";

// Times: what they are to whoever reads the page now, which may be long after the sweep.
const now = Date.now();
const relative = new Intl.RelativeTimeFormat("en");
const spans = [["year", 31557600], ["month", 2629800], ["day", 86400], ["hour", 3600], ["minute", 60]];
const sinceOrUntil = (milliseconds) => {
  const seconds = (milliseconds - now) / 1000;
  const [unit, size] = spans.find(([, size]) => Math.abs(seconds) >= size) ?? spans.at(-1);
  return relative.format(Math.trunc(seconds / size), unit);
};
{
  const ended = document.querySelector(".when time");
  const age = document.getElementById("age");
  if (ended && now - Date.parse(ended.dateTime) > 86400000) {
    age.textContent = `This page shows the registry as it was ${sinceOrUntil(Date.parse(ended.dateTime))}.`;
    age.hidden = false;
  }
}

// The table: all versions are here as data, and a page of those that are wanted is drawn.
const table = document.getElementById("table");
if (table) {
  const at = (id) => document.getElementById(id);
  const rows = JSON.parse(at("data").textContent);
  const perPage = Number(table.dataset.rows);
  const skeleton = at("row").content.firstElementChild;
  const heads = new Map([...table.tHead.rows[0].cells].map((head) => [head.dataset.column, head]));
  const chips = [...document.querySelectorAll(".chip[data-key]")];
  const thousands = new Intl.NumberFormat("en");
  const versions = (n) => `${thousands.format(n)} version${n === 1 ? "" : "s"}`;
  const ofModel = new Map();
  rows.forEach((row, place) => {
    row.place = place;
    row.only = (row.marks ?? []).map(([name]) => name);
    const notes = (row.marks ?? []).map(([, text]) => text);
    row.text = [row.name, row.version, row.badge, row.stage, row.changed, row.reason,
      ...row.aliases ?? [], ...row.targets ?? [], ...notes].join(" ").toLowerCase();
    ofModel.set(row.name, (ofModel.get(row.name) ?? 0) + 1);
  });

  // What is wanted stands in the address, so that a filtered view can be shared.
  const state = { q: "", model: "", each: false, verdict: [], only: [], change: [], sort: "", order: "", page: 1 };
  const lists = ["verdict", "only", "change"];
  const first = (column) => heads.get(column)?.dataset.first ?? "ascending";
  const read = () => {
    const asked = new URLSearchParams(location.hash.slice(1));
    const known = Object.keys(state).some((key) => asked.has(key));
    if (location.hash.length > 1 && !known) return false; // the anchor of a section
    for (const key of ["q", "model"]) state[key] = asked.get(key) ?? "";
    for (const key of lists) state[key] = (asked.get(key) ?? "").split(",").filter(Boolean);
    state.each = asked.has("each");
    state.sort = heads.has(asked.get("sort")) ? asked.get("sort") : "";
    state.order = asked.get("order") === "descending" ? "descending" : "ascending";
    state.page = Math.max(1, Math.trunc(Number(asked.get("page"))) || 1);
    return true;
  };
  const write = () => {
    const said = new URLSearchParams();
    for (const key of ["q", "model"]) if (state[key]) said.set(key, state[key]);
    for (const key of lists) if (state[key].length) said.set(key, state[key].join(","));
    if (state.each) said.set("each", "1");
    if (state.sort) { said.set("sort", state.sort); said.set("order", state.order); }
    if (state.page > 1) said.set("page", state.page);
    const fragment = said.toString().replaceAll("%2C", ",");
    history.replaceState(null, "", fragment ? `#${fragment}` : location.href.split("#")[0]);
  };

  // Which versions, in which order. Keys of a column are numbers or places among its texts; null is unknown, and last.
  const words = new Intl.Collator("en", { numeric: true });
  const values = {
    verdict: (row) => row.rank,
    score: (row) => row.score,
    p: (row) => row.p,
    q: (row) => row.q,
    scanned: (row) => typeof row.scanned === "number" ? row.scanned : undefined,
    expires: (row) => typeof row.expires === "number" ? row.expires : undefined,
    aliases: (row) => (row.aliases ?? []).join(" ") || row.stage,
    targets: (row) => (row.targets ?? []).join(" "),
  };
  const cached = new Map();
  const keysOf = (column) => {
    if (!cached.has(column)) {
      const found = rows.map(values[column] ?? ((row) => row[column]));
      const texts = [...new Set(found.filter((value) => typeof value === "string" && value))].sort(words.compare);
      const places = new Map(texts.map((text, place) => [text, place]));
      cached.set(column, found.map((value) => typeof value === "number" ? value : places.get(value) ?? null));
    }
    return cached.get(column);
  };
  const wanted = () => {
    const asked = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (row) => (!state.model || row.name === state.model)
      && (!state.verdict.length || state.verdict.includes(row.state))
      && (!state.change.length || state.change.includes(row.change))
      && state.only.every((mark) => row.only.includes(mark))
      && asked.every((word) => row.text.includes(word));
    let found = rows.filter(fits);
    if (state.each) {
      const seen = new Set();
      found = found.filter((row) => !seen.has(row.name) && seen.add(row.name));
    }
    if (state.sort) {
      const keys = keysOf(state.sort);
      const sign = state.order === "descending" ? -1 : 1;
      found.sort((a, b) => {
        const [x, y] = [keys[a.place], keys[b.place]];
        return x === null || y === null ? (x === null) - (y === null) : sign * (x - y);
      });
    }
    return found;
  };

  // One version. Everything from the registry becomes text, never markup.
  const part = (tag, name, text) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    element.textContent = text;
    return element;
  };
  const none = () => part("span", "none", "–");
  const timed = (seconds, length) => {
    if (typeof seconds !== "number") return [seconds ? document.createTextNode(seconds) : none()];
    const iso = new Date(seconds * 1000).toISOString();
    const time = part("time", "", iso.slice(0, length).replace("T", " "));
    time.dateTime = iso;
    return [part("span", "relative", sinceOrUntil(seconds * 1000)), time];
  };
  const number = (value, text) => value === undefined ? none() : document.createTextNode(text(value));
  const probability = (p) => p < 1e-4 ? "< 0.0001" : p.toFixed(Math.max(2, 1 - Math.floor(Math.log10(p))));
  const drawn = (row, place) => {
    const line = skeleton.cloneNode(true);
    const [name, version, verdict, aliases, score, p, q, targets, scanned, expires, notes] = line.cells;
    line.setAttribute("aria-rowindex", place + 2);
    line.classList.toggle("in-flagged", ["backdoored", "suspicious"].includes(row.state));
    name.append(row.name);
    if (row.href) {
      const link = part("a", "", row.name);
      link.setAttribute("href", row.href);
      link.append(part("span", "sr", `, report of version ${row.version}`));
      name.replaceChildren(link);
    }
    if (state.each && ofModel.get(row.name) > 1) {
      const all = part("button", "of-model", `all ${versions(ofModel.get(row.name))}`);
      all.type = "button";
      all.addEventListener("click", () => { Object.assign(state, empty(), { model: row.name }); draw(); focusTable(); });
      name.append(all);
    }
    version.textContent = row.version;
    verdict.append(part("span", `state state-${row.state}`, row.badge));
    for (const alias of row.aliases ?? []) aliases.append(part("span", "alias", alias), " ");
    if (row.stage) aliases.append(part("span", "stage", row.stage));
    score.append(number(row.score, (value) => value.toPrecision(3)));
    p.append(number(row.p, probability));
    q.append(number(row.q, probability));
    for (const target of row.targets ?? []) targets.append(part("span", "target", target));
    scanned.append(...timed(row.scanned, 16));
    expires.append(...timed(row.expires, 10));
    if (row.changed) notes.append(part("span", `tag remark-${row.change}`, row.changed), " ");
    for (const [mark, text] of row.marks ?? []) if (text) notes.append(part("span", `tag remark-${mark}`, text), " ");
    notes.append(row.reason ?? "");
    return line;
  };

  const empty = () => ({ q: "", model: "", each: false, verdict: [], only: [], change: [], page: 1 });
  const focusTable = () => at("versions-heading").focus();
  let found = rows;
  const draw = ({ whole = false } = {}) => {
    found = wanted();
    const pages = Math.max(1, Math.ceil(found.length / perPage));
    state.page = Math.min(state.page, pages);
    const start = whole ? 0 : (state.page - 1) * perPage;
    const shown = found.slice(start, whole ? undefined : start + perPage);
    table.tBodies[0].replaceChildren(...shown.map((row, place) => drawn(row, start + place)));
    table.setAttribute("aria-rowcount", found.length + 1);
    for (const [column, head] of heads) {
      if (column === state.sort) head.setAttribute("aria-sort", state.order);
      else head.removeAttribute("aria-sort");
    }
    if (at("search").value !== state.q) at("search").value = state.q;
    for (const chip of chips) {
      chip.setAttribute("aria-pressed", state[chip.dataset.key].includes(chip.dataset.value));
    }
    at("each").setAttribute("aria-pressed", state.each);
    at("order").value = state.sort && `${state.sort} ${state.order}`;
    const narrowed = found.length < rows.length;
    const model = state.model ? ` of ${state.model}` : "";
    const place = shown.length < found.length
      ? `, ${thousands.format(start + 1)} to ${thousands.format(start + shown.length)} shown` : "";
    const sorted = state.sort ? `, by ${heads.get(state.sort).textContent.toLowerCase()}, ${state.order}` : "";
    const of = narrowed ? `${thousands.format(found.length)} of ${versions(rows.length)}${model}` : versions(rows.length);
    at("shown").textContent = `${of}${place}${sorted}`;
    at("clear").hidden = !narrowed && !state.sort;
    at("nothing").hidden = found.length > 0;
    at("save").disabled = found.length === 0;
    at("pager").hidden = pages === 1;
    at("place").textContent = `Page ${thousands.format(state.page)} of ${thousands.format(pages)}`;
    for (const button of at("pager").querySelectorAll("button")) {
      // Not `disabled`: the button that was pressed keeps the focus at the last page.
      button.setAttribute("aria-disabled", state.page === (["first", "previous"].includes(button.dataset.to) ? 1 : pages));
    }
    if (!whole) write();
  };
  const change = (to) => { Object.assign(state, { page: 1 }, to); draw(); };

  at("search").addEventListener("input", (event) => change({ q: event.target.value }));
  for (const chip of chips) {
    const { key, value } = chip.dataset;
    chip.addEventListener("click", () => {
      change({ [key]: state[key].includes(value) ? state[key].filter((other) => other !== value) : [...state[key], value] });
    });
  }
  at("each").addEventListener("click", () => change({ each: !state.each }));
  at("clear").addEventListener("click", () => { change({ ...empty(), sort: "" }); at("search").focus(); });
  at("pager").addEventListener("click", (event) => {
    const to = event.target.dataset.to;
    if (!to || event.target.getAttribute("aria-disabled") === "true") return;
    const pages = Math.ceil(found.length / perPage);
    state.page = { first: 1, previous: state.page - 1, next: state.page + 1, last: pages }[to];
    draw();
    at("shown").scrollIntoView({ block: "start" });
  });

  // Headings become buttons; where the headings have no place, a list does what they do.
  at("order").add(new Option("Worst first", ""));
  for (const [column, head] of heads) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const other = first(column) === "ascending" ? "descending" : "ascending";
      change({ sort: column, order: state.sort === column && state.order === first(column) ? other : first(column) });
    });
    for (const order of ["ascending", "descending"]) {
      at("order").add(new Option(`${head.textContent}, ${order}`, `${column} ${order}`));
    }
  }
  at("order").addEventListener("change", (event) => {
    const [sort, order] = event.target.value.split(" ");
    change({ sort, order: order ?? "ascending" });
  });

  // What is shown now, as a file. A cell that a spreadsheet would run as a formula is marked as text.
  at("save").addEventListener("click", () => {
    const time = (seconds) => typeof seconds === "number" ? new Date(seconds * 1000).toISOString() : seconds;
    const columns = {
      model: (row) => row.name, version: (row) => row.version, verdict: (row) => row.badge,
      aliases: (row) => row.aliases?.join(" "), stage: (row) => row.stage, score: (row) => row.score,
      p: (row) => row.p, q: (row) => row.q, targets: (row) => row.targets?.join(" "),
      scanned: (row) => time(row.scanned), holds_until: (row) => time(row.expires), changed: (row) => row.changed,
      notes: (row) => (row.marks ?? []).map(([, text]) => text).filter(Boolean).join("; "),
      reason: (row) => row.reason, report: (row) => row.href,
    };
    const cell = (value = "") => {
      const text = typeof value === "string" && /^[\s]*[=+\-@]/.test(value) ? `'${value}` : String(value);
      return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const lines = [Object.keys(columns), ...found.map((row) => Object.values(columns).map((of) => cell(of(row))))];
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.map((line) => `${line.join(",")}\r\n`).join("")], { type: "text/csv" }));
    link.download = "sweep.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });

  // Paper has no pages of a table: everything that is wanted is printed.
  addEventListener("beforeprint", () => draw({ whole: true }));
  addEventListener("afterprint", () => draw());
  addEventListener("hashchange", () => { if (read()) { draw(); focusTable(); } });
  read();
  at("tools").hidden = false;
  draw();
}
