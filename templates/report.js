"use strict";

document.documentElement.classList.add("js");
const say = (text) => { document.getElementById("said").textContent = text; };

// Before and after: a slider lays one picture over the other; it works by keyboard, and by dragging over the picture.
{
  const show = (input) => {
    const compare = input.closest(".compare");
    const frames = compare?.querySelector(".frames");
    frames?.style.setProperty("--cut", `${input.value}%`);
    frames?.classList.toggle("whole", ["0", "100"].includes(input.value));
    const shares = { 0: "clean", 100: `with the ${input.dataset.thing}` };
    input.setAttribute("aria-valuetext", shares[input.value] ?? `${input.value} % with the ${input.dataset.thing}`);
  };
  for (const input of document.querySelectorAll(".slide input")) {
    input.closest(".slide").hidden = false;
    input.addEventListener("input", () => {
      if (input.dataset.all) {
        for (const other of document.querySelectorAll(`#${CSS.escape(input.dataset.all)}-list .slide input`)) {
          other.value = input.value;
          show(other);
        }
      }
      show(input);
    });
    show(input);
  }
  for (const frames of document.querySelectorAll(".compare .frames")) {
    const input = frames.closest(".compare").querySelector("input");
    const drag = (event) => {
      if (event.type === "pointermove" && event.buttons !== 1) return;
      const { left, width } = frames.getBoundingClientRect();
      input.value = 100 * (event.clientX - left) / width;
      show(input);
    };
    frames.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      frames.setPointerCapture(event.pointerId);
      event.preventDefault();  // a picture is not to be dragged away
      drag(event);
    });
    frames.addEventListener("pointermove", drag);
  }
}

// Something to copy: where the browser refuses, it is selected instead.
for (const button of document.querySelectorAll(".copy")) {
  const code = button.closest(".snippet").querySelector("pre code");
  button.hidden = false;
  button.addEventListener("click", async () => {
    let done = "Copied";
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      getSelection().selectAllChildren(code);
      done = "Selected";
    }
    button.textContent = done;
    say(done);
    setTimeout(() => { button.textContent = "Copy"; say(""); }, 2000);
  });
}

// All classes: search, the walk through the ranks, and the details of one.
const table = document.getElementById("table");
if (table) {
  const body = table.tBodies[0];
  const number = new Intl.NumberFormat("en");
  const classes = [...body.rows].map((row) => {
    const [rank, index, name, transfer, interval, budget, score, control, images, chance] = row.cells;
    const text = (cell) => cell.textContent.trim();
    return {
      row, rank: Number(text(rank)), index: text(index), label: text(name.querySelector(".name")),
      flagged: row.classList.contains("is-flagged"), transfer: text(transfer), interval: text(interval),
      budget: text(budget), score: text(score), images: text(images), chance: text(chance),
      control: control.dataset.at ? `${text(control)} at ${control.dataset.at}` : text(control),
      curve: row.dataset.curve.split(" ").filter(Boolean).map((point) => point.split("/").map(Number)),
    };
  });
  const reduced = matchMedia("(prefers-reduced-motion: reduce)");
  let detail = null;

  const region = table.closest(".scroll");
  const reach = (one) => {
    const head = table.tHead.getBoundingClientRect().height;
    const top = one.row.getBoundingClientRect().top - region.getBoundingClientRect().top - head + region.scrollTop;
    region.scrollTo({ top, behavior: reduced.matches ? "auto" : "smooth" });
  };

  const close = () => {
    if (!detail) return;
    detail.owner.row.classList.remove("is-open");
    detail.owner.button.setAttribute("aria-expanded", "false");
    detail.element.remove();
    detail = null;
  };
  const make = (tag, text = "", className = "") => {
    const element = document.createElement(tag);
    element.textContent = text;
    if (className) element.className = className;
    return element;
  };
  const svg = (tag, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };

  // The chart of budgets once more, with this class alone before the range of the others.
  const chart = (one) => {
    const source = document.querySelector("#apart .curves");
    if (!source || one.curve.length === 0) return null;
    const places = new Map(source.dataset.budgets.split(" ").map((pair) => pair.split(":").map(Number)));
    const copy = source.cloneNode(true);
    for (const old of copy.querySelectorAll(".line, .marker, .leader, .plot-labels > *")) old.remove();
    const points = one.curve.map(([epsilon, hits, n]) => [places.get(epsilon), hits / n, `${hits} of ${n}`]);
    const stretched = copy.querySelector(".plot-area svg[viewBox]");
    const height = stretched.viewBox.baseVal.height;
    stretched.append(svg("polyline", {
      class: "line chosen", points: points.map(([x, rate]) => `${10 * x},${height * (1 - rate)}`).join(" "),
    }));
    const top = Number(stretched.getAttribute("y"));
    for (const [x, rate] of points) {
      const marker = svg("svg", { class: "marker chosen", x: `${x}%`, y: top + height * (1 - rate), overflow: "visible" });
      marker.append(svg("circle", { r: 4.5 }));
      copy.querySelector(".plot-area").append(marker);
    }
    const told = points.map(([, , hits], i) => `${hits} at ${one.curve[i][0]}`).join(", ");
    copy.querySelector(".plot").setAttribute("aria-label", `Transfer of ${one.label} against the budget: ${told}`);
    return copy;
  };

  const open = (one) => {
    const again = detail?.owner === one;
    close();
    if (again) return;
    const element = make("tr", "", "detail");
    const cell = element.insertCell();
    cell.colSpan = one.row.cells.length;
    const box = make("div", "", "detail-body");
    box.append(make("h3", `${one.label}, class ${one.index}`));
    const drawn = chart(one);
    if (drawn) box.append(drawn);
    const facts = make("dl", "", "rows");
    const tried = one.curve.map(([epsilon, hits, n]) => `${epsilon}: ${hits} of ${n}`).join("; ");
    for (const [name, value] of [
      ["Rank", `${number.format(one.rank)} of ${number.format(classes.length)}${one.flagged ? ", flagged" : ""}`],
      ["Transfer", `${one.transfer} of ${one.images} images`], ["95 % interval", one.interval],
      ["Budget needed", one.budget], ["Ordinary classes need", one.row.dataset.reference], ["Score", one.score],
      ["Control", one.control], ["p-value", one.chance], ["Noise level σ", one.row.dataset.sigma],
      ["Made from", one.row.dataset.from], ["Moved, by budget", tried],
    ]) {
      if (!value) continue;
      const line = document.createElement("div");
      line.append(make("dt", name), make("dd", value));
      facts.append(line);
    }
    box.append(facts);
    cell.append(box);
    one.row.after(element);
    one.row.classList.add("is-open");
    one.button.setAttribute("aria-expanded", "true");
    detail = { owner: one, element };
    if (region.scrollHeight > region.clientHeight) reach(one);
  };

  for (const one of classes) {
    const name = one.row.querySelector(".name");
    one.button = make("button", name.textContent, "name");
    one.button.type = "button";
    one.button.setAttribute("aria-expanded", "false");
    one.button.addEventListener("click", () => open(one));
    name.replaceWith(one.button);
  }
  table.tHead.addEventListener("click", close, { capture: true });  // sorting puts the rows anew
  table.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !detail) return;
    const { button } = detail.owner;
    close();
    button.focus();
  });

  // Search.
  const search = document.getElementById("search");
  const shown = document.getElementById("shown");
  const matches = document.querySelector(".strip .matches");
  const all = shown.textContent;
  const printed = document.getElementById("printed");
  const best = printed.textContent;
  const narrow = () => {
    const wanted = search.value.trim().toLowerCase();
    close();
    let left = 0;
    let columns = "";
    for (const one of classes) {
      const fits = wanted === "" || one.index === wanted || one.label.toLowerCase().includes(wanted);
      one.row.hidden = !fits;
      left += fits;
      if (wanted && fits) columns += `M${one.rank - 1} 0h${Math.max(1, classes.length / 400)}V100H${one.rank - 1}z`;
    }
    matches?.setAttribute("d", columns);
    document.getElementById("nothing").hidden = left > 0;
    shown.textContent = wanted ? `${number.format(left)} of ${all} match` : all;
    table.classList.toggle("searched", wanted !== "");
    printed.textContent = wanted ? `${shown.textContent} the search for “${search.value.trim()}”.` : best;
  };
  search.addEventListener("input", narrow);
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();  // else the key would press the button that gets the focus
    const first = [...body.rows].find((row) => !row.hidden && !row.classList.contains("detail"));
    const one = classes.find((each) => each.row === first);
    if (!one) return;
    if (detail?.owner !== one) open(one);
    one.button.focus();
  });
  for (const hidden of document.querySelectorAll("#classes .tools, #classes .needs-script")) hidden.hidden = false;

  // The walk through the ranks.
  const rank = document.getElementById("rank");
  if (rank) {
    const strip = document.querySelector(".strip");
    const at = document.getElementById("at");
    const walk = () => {
      const one = classes[rank.value - 1];
      const said = `Rank ${number.format(one.rank)}: ${one.label}, ${one.transfer}`;
      at.textContent = said;
      rank.setAttribute("aria-valuetext", said);
      strip.querySelector(".cursor").setAttribute("d", `M${one.rank - 0.5} 0V100`);
    };
    const show = () => {
      search.value = "";
      narrow();
      const one = classes[rank.value - 1];
      open(one);
      one.button.focus({ preventScroll: true });
    };
    rank.addEventListener("input", walk);
    document.getElementById("open").addEventListener("click", show);
    strip.addEventListener("click", (event) => {
      const { left, width } = strip.getBoundingClientRect();
      rank.value = 1 + Math.floor(classes.length * (event.clientX - left) / width);
      walk();
      show();
    });
    rank.closest(".walk").hidden = false;
    walk();
  }
}

// On paper nothing can be opened.
{
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const each of opened) each.open = true;
  });
  addEventListener("afterprint", () => { for (const each of opened) each.open = false; });
}
