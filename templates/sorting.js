// Tables of the class `sortable`: headings become buttons that sort. The value of a cell is its data-v, else its text;
// cells with an empty data-v come last in either order, and rows of equal value stay in the order of the page.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const asWritten = [...body.rows];
  const words = new Intl.Collator("en", { numeric: true });
  const value = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.v ?? cell.textContent;
    return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  };
  const compare = (x, y) => typeof x === "number" && typeof y === "number" ? x - y : words.compare(x, y);
  heads.forEach((head, column) => {
    const sort = document.createElement("button");
    sort.type = "button";
    sort.append(...head.childNodes);
    head.replaceChildren(sort);
    sort.addEventListener("click", () => {
      const first = head.dataset.first ?? "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      for (const cell of heads) cell.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const keyed = asWritten.map((row) => [value(row, column), row]);
      keyed.sort(([x], [y]) => x === "" || y === "" ? (x === "") - (y === "") : sign * compare(x, y));
      body.replaceChildren(...keyed.map(([, row]) => row));
    });
  });
}
