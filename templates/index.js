"use strict";

// Times: what they are to whoever reads the page now, which may be long after the sweep.
{
  const units = [["year", 31557600], ["month", 2629800], ["day", 86400], ["hour", 3600], ["minute", 60]];
  const relative = new Intl.RelativeTimeFormat("en");
  const now = Date.now();
  const said = (time) => {
    const seconds = (Date.parse(time.dateTime) - now) / 1000;
    const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) ?? units.at(-1);
    return relative.format(Math.trunc(seconds / size), unit);
  };
  for (const time of document.querySelectorAll("td > time")) {
    const words = document.createElement("span");
    words.className = "relative";
    words.textContent = said(time);
    time.before(words);
  }
  const ended = document.querySelector(".when time");
  const age = document.getElementById("age");
  if (ended && now - Date.parse(ended.dateTime) > 86400000) {
    age.textContent = `This page shows the registry as it was ${said(ended)}.`;
    age.hidden = false;
  }
}

// The table of versions: a search box and buttons that narrow it down.
const table = document.getElementById("table");
if (table) {
  const search = document.getElementById("search");
  const shown = document.getElementById("shown");
  const clear = document.getElementById("clear");
  const chips = [...document.querySelectorAll(".chip")];
  const rows = [...table.tBodies[0].rows].map((row) => ({
    row,
    text: row.textContent.toLowerCase(),
    group: row.dataset.group,
    marks: row.dataset.marks.split(" "),
  }));
  const number = new Intl.NumberFormat("en");

  const narrow = () => {
    const wanted = search.value.toLowerCase().split(/\s+/);
    const pressed = chips.filter((chip) => chip.getAttribute("aria-pressed") === "true").map((chip) => chip.dataset);
    const groups = pressed.filter((chip) => chip.group).map((chip) => chip.group);
    const marks = pressed.filter((chip) => chip.mark).map((chip) => chip.mark);
    let left = 0;
    for (const { row, text, group, marks: own } of rows) {
      const fits = (groups.length === 0 || groups.includes(group))
        && marks.every((mark) => own.includes(mark))
        && wanted.every((word) => text.includes(word));
      row.hidden = !fits;
      left += fits;
    }
    const all = `${number.format(rows.length)} version${rows.length === 1 ? "" : "s"}`;
    shown.textContent = left === rows.length ? all : `${number.format(left)} of ${all}`;
    clear.hidden = left === rows.length;
    document.getElementById("nothing").hidden = left > 0;
  };
  search.addEventListener("input", narrow);
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", chip.getAttribute("aria-pressed") !== "true");
      narrow();
    });
  }
  clear.addEventListener("click", () => {
    search.value = "";
    for (const chip of chips) chip.setAttribute("aria-pressed", false);
    narrow();
    search.focus();
  });

  // Where the headings have no place, a list does what they do.
  const order = document.getElementById("order");
  const heads = [...table.tHead.rows[0].cells];
  order.add(new Option("Worst first", "2"));
  heads.forEach((head, column) => { if (column !== 2) order.add(new Option(head.textContent, column)); });
  order.addEventListener("change", () => {
    const head = heads[order.value];
    head.removeAttribute("aria-sort");
    head.querySelector("button").click();
  });
  document.getElementById("tools").hidden = false;
}
