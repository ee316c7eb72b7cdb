// Show the trials whose name has every word of the filter, in all tables and figures; hide the others.
{
  const filter = document.querySelector(".filter");
  const input = filter.querySelector("input"), status = filter.querySelector("[role=status]");
  const cells = [...document.querySelectorAll("[data-cell]")];
  const ranked = cells.filter((cell) => cell.closest("#table-leaderboard"));
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/);
    // The attribute, because the marks of charts do not have the property.
    for (const cell of cells) cell.toggleAttribute("hidden", !words.every((word) => cell.dataset.cell.toLowerCase().includes(word)));
    const shown = ranked.filter((cell) => !cell.hidden).length;
    status.textContent = `${shown} of ${ranked.length} trials`;
  };
  input.addEventListener("input", apply);
  apply();
  filter.hidden = false;
}
// A click on a column head sorts by that column: numbers from the largest, names from A; a second click reverses the order.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.querySelectorAll("thead tr:not(.spanner):not(.axis) > th")];
  const body = table.querySelector("tbody:not(.failed)");
  if (!body) continue;
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const opposite = { ascending: "descending", descending: "ascending" };
    const isText = head.classList.contains("text");
    const order = opposite[head.getAttribute("aria-sort")] ?? (isText ? "ascending" : "descending");
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const value = (row) => row.cells[column].dataset.value;
    const compare = (a, b) => isText ? a.localeCompare(b, "en", { numeric: true }) : a - b;
    const rows = [...body.rows].sort((first, second) => {
      const a = value(first), b = value(second);
      if (!a || !b) return (a ? 0 : 1) - (b ? 0 : 1);
      return sign * compare(a, b);
    });
    body.append(...rows);
  }));
}
