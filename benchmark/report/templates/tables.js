// The address keeps the filter and the order of every table: a link shows what its sender saw, and the browser's back
// and forward buttons undo and repeat.
{
  const filter = document.querySelector(".filter");
  const input = filter.querySelector("input"), status = filter.querySelector("[role=status]");
  const cells = [...document.querySelectorAll("[data-cell]")];
  const ranked = cells.filter((cell) => cell.closest("#table-leaderboard"));

  const remember = (how, change) => {
    const kept = new URLSearchParams(location.search);
    change(kept);
    const query = kept.size ? `?${kept}` : location.pathname;
    try { history[how](null, "", query + location.hash); } catch { /* a viewer may forbid it; the page works without */ }
  };

  // Show the trials whose name has every word of the filter, in all tables and figures; hide the others. Marks in charts
  // become faint: without them the axes would be hard to understand.
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/);
    for (const cell of cells) {
      const out = !words.every((word) => cell.dataset.cell.toLowerCase().includes(word));
      if (cell instanceof SVGElement) cell.classList.toggle("faint", out);
      else cell.hidden = out;
    }
    status.textContent = `${ranked.filter((cell) => !cell.hidden).length} of ${ranked.length} trials`;
  };
  let typing = false; // one entry in the history for all letters of a word
  input.addEventListener("input", () => {
    apply();
    remember(typing ? "replaceState" : "pushState", (kept) => input.value ? kept.set("filter", input.value) : kept.delete("filter"));
    typing = true;
  });
  input.addEventListener("change", () => { typing = false; });

  // A click on a column head sorts by that column: numbers from the largest, names from A; a second click reverses it.
  const tables = new Map();
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.querySelectorAll("thead tr:not(.spanner):not(.axis) > th")];
    const body = table.querySelector("tbody:not(.failed)");
    if (!body) continue;
    const name = table.id.replace("table-", ""), written = [...body.rows];
    const marked = heads.map((head) => head.getAttribute("aria-sort"));
    const sort = (column, order) => {
      const isText = heads[column].classList.contains("text"), sign = order === "ascending" ? 1 : -1;
      heads.forEach((head, place) => place === column ? head.setAttribute("aria-sort", order) : head.removeAttribute("aria-sort"));
      const value = (row) => row.cells[column].dataset.value;
      const compare = (a, b) => isText ? a.localeCompare(b, "en", { numeric: true }) : a - b;
      body.append(...[...written].sort((first, second) => {
        const a = value(first), b = value(second);
        if (!a || !b) return (a ? 0 : 1) - (b ? 0 : 1);
        return sign * compare(a, b);
      }));
    };
    const reset = () => {
      heads.forEach((head, place) => marked[place] ? head.setAttribute("aria-sort", marked[place]) : head.removeAttribute("aria-sort"));
      body.append(...written);
    };
    tables.set(name, { sort, reset, count: heads.length });
    heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
      const opposite = { ascending: "descending", descending: "ascending" };
      const order = opposite[head.getAttribute("aria-sort")] ?? (head.classList.contains("text") ? "ascending" : "descending");
      sort(column, order);
      remember("pushState", (kept) => {
        const others = kept.getAll("sort").filter((one) => one.split(".")[0] !== name);
        kept.delete("sort");
        for (const one of [...others, `${name}.${column + 1}.${order}`]) kept.append("sort", one);
      });
    }));
  }

  const restore = () => {
    const kept = new URLSearchParams(location.search);
    typing = false;
    input.value = kept.get("filter") ?? "";
    apply();
    for (const { reset } of tables.values()) reset();
    for (const one of kept.getAll("sort")) {
      const [name, column, order] = one.split("."), table = tables.get(name);
      if (table && column >= 1 && column <= table.count && ["ascending", "descending"].includes(order)) table.sort(column - 1, order);
    }
  };
  addEventListener("popstate", restore);
  restore();
  filter.hidden = false;
}
