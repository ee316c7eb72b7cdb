// The image browser: only the rows of tiles in sight exist, so that ten thousand images scroll like ten.
{
  const data = window.BROWSER, root = document.getElementById("browser");
  const count = data.image.length, [rows, columns] = data.grid;
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const maps = bytes(data.maps), palette = bytes(data.palette);
  const find = (name) => root.querySelector(`[name=${name}]`);
  const [sort, order, outcome, label, flag, query, map, masks] =
    ["sort", "order", "outcome", "label", "flag", "query", "map", "masks"].map(find);
  const status = root.querySelector("[role=status]"), view = root.querySelector(".view");
  const list = view.querySelector("ul"), dialog = root.querySelector("dialog");
  const GAP = 12, CAPTION = 58, SIDE = 168, CANVAS = 112;
  let shown = [], across = 1, tile = SIDE, first = -1, last = -1, opened = -1;

  // Bilinear, as the maps of the study are enlarged; each on the scale from 0 to its highest value.
  const draw = (canvas, index) => {
    const start = index * rows * columns, context = canvas.getContext("2d");
    const pixels = context.createImageData(CANVAS, CANVAS), out = pixels.data;
    const along = (place, cells) => {
      const at = Math.min(Math.max((place + 0.5) * cells / CANVAS - 0.5, 0), cells - 1), below = Math.floor(at);
      return [below, Math.min(below + 1, cells - 1), at - below];
    };
    const across = Array.from({ length: CANVAS }, (_, x) => along(x, columns));
    for (let y = 0, at = 0; y < CANVAS; y++) {
      const [top, bottom, down] = along(y, rows);
      const upper = start + top * columns, lower = start + bottom * columns;
      for (let x = 0; x < CANVAS; x++, at += 4) {
        const [left, right, over] = across[x];
        const above = maps[upper + left] * (1 - over) + maps[upper + right] * over;
        const under = maps[lower + left] * (1 - over) + maps[lower + right] * over;
        const colour = 3 * Math.round(above * (1 - down) + under * down);
        out[at] = palette[colour]; out[at + 1] = palette[colour + 1]; out[at + 2] = palette[colour + 2]; out[at + 3] = 255;
      }
    }
    context.putImageData(pixels, 0, 0);
  };
  const number = (value, digits) => value === null ? "–" : value.toFixed(digits);
  const right = (index) => data.label[index] === null ? null : (data.score[index] >= data.threshold) === (data.label[index] === 1);
  const fill = (parent, index) => {
    const picture = document.createElement("span"), photograph = new Image(CANVAS, CANVAS);
    picture.className = "layers";
    photograph.src = `${data.folder}/images/${data.file[index]}.jpg`;
    photograph.alt = "";
    photograph.decoding = "async";
    picture.append(photograph);
    if (data.mapped[index]) {
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = CANVAS;
      canvas.className = "map";
      draw(canvas, index);
      picture.append(canvas);
    }
    if (data.masked[index]) {
      const outlines = new Image(CANVAS, CANVAS);
      outlines.src = `${data.folder}/masks/${data.file[index]}.png`;
      outlines.alt = "";
      outlines.className = "masks";
      picture.append(outlines);
    }
    parent.append(picture);
  };
  const described = (index) => {
    const called = right(index) === null ? "" : right(index) ? "right" : "wrong";
    return [data.image[index], `label ${data.label[index]}, score ${number(data.score[index], 3)}, ${called}`,
      `vessel ratio ${number(data.ratio[index], 2)}${data.flags[index] ? `; ${data.flags[index]}` : ""}`];
  };
  const build = (place) => {
    const index = shown[place], item = document.createElement("li"), button = document.createElement("button");
    item.setAttribute("aria-setsize", shown.length);
    item.setAttribute("aria-posinset", place + 1);
    item.style.cssText = `left:${(place % across) * (tile + GAP)}px;top:${Math.floor(place / across) * (tile + CAPTION + GAP)}px;width:${tile}px`;
    button.type = "button";
    button.dataset.place = place;
    if (right(index) === false) button.className = "wrong";
    fill(button, index);
    for (const [line, text] of described(index).entries()) {
      const part = document.createElement("span");
      part.textContent = text;
      part.className = line ? "fact" : "file";
      part.title = text;
      button.append(part);
    }
    button.addEventListener("click", () => open(place));
    item.append(button);
    return item;
  };
  const render = (anew) => {
    const height = tile + CAPTION + GAP, top = Math.max(0, -view.getBoundingClientRect().top);
    const from = Math.max(0, Math.floor(top / height) - 1) * across;
    const to = Math.min(shown.length, (Math.ceil((top + window.innerHeight) / height) + 1) * across);
    if (!anew && from === first && to === last) return;
    const kept = new Map(anew ? [] : [...list.children].map((item) => [+item.firstChild.dataset.place, item]));
    for (const [place, item] of kept) if (place < from || place >= to) item.remove();
    const items = [];
    for (let place = from; place < to; place++) items.push(kept.get(place) ?? build(place));
    if (anew) list.replaceChildren(...items);
    else items.forEach((item, place) => { if (list.children[place] !== item) list.insertBefore(item, list.children[place] ?? null); });
    [first, last] = [from, to];
  };
  const layout = () => {
    across = Math.max(2, Math.floor((view.clientWidth + GAP) / (SIDE + GAP)));
    tile = Math.floor((view.clientWidth + GAP) / across) - GAP;
    view.style.height = `${Math.ceil(shown.length / across) * (tile + CAPTION + GAP)}px`;
    render(true);
  };
  const apply = () => {
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean), values = data[sort.value];
    shown = [...Array(count).keys()].filter((index) =>
      (!outcome.value || right(index) === (outcome.value === "right"))
      && (!label.value || data.label[index] === +label.value)
      && (!flag.value || (flag.value === "any" ? data.flags[index] : data.flags[index].split(", ").includes(flag.value)))
      && words.every((word) => `${data.image[index]} ${data.patient[index]}`.toLowerCase().includes(word)));
    if (values) {
      const sign = order.value === "ascending" ? 1 : -1;
      shown.sort((a, b) => values[a] === null || values[b] === null ? (values[a] === null) - (values[b] === null)
        : sign * (typeof values[a] === "string" ? values[a].localeCompare(values[b], "en", { numeric: true }) : values[a] - values[b]));
    }
    status.textContent = `${shown.length} of ${count} images`;
    root.classList.toggle("without-map", !map.checked);
    root.classList.toggle("without-masks", !masks.checked);
    layout();
  };
  const fields = [sort, order, outcome, label, flag, query, map, masks];
  const initial = new Map(fields.map((field) => [field, field.type === "checkbox" ? field.checked : field.value]));
  const remember = () => {
    const state = new URLSearchParams();
    for (const field of fields) {
      const value = field.type === "checkbox" ? field.checked : field.value;
      if (value !== initial.get(field)) state.set(field.name, value);
    }
    history.replaceState(null, "", `#${state.size ? state : "browser"}`);
  };
  const recall = () => {
    const state = new URLSearchParams(location.hash.slice(1));
    for (const field of fields) {
      const value = state.get(field.name);
      if (field.type === "checkbox") field.checked = value === null ? initial.get(field) : value === "true";
      else field.value = value ?? initial.get(field);
    }
    apply();
  };
  const open = (place) => {
    opened = place;
    const index = shown[place], large = dialog.querySelector(".large"), facts = dialog.querySelector("dl");
    large.replaceChildren();
    fill(large, index);
    dialog.querySelector("h3").textContent = data.image[index];
    facts.replaceChildren(...data.shown.flatMap(([name, title, digits]) => {
      const term = document.createElement("dt"), value = document.createElement("dd"), found = data[name][index];
      term.textContent = title;
      value.textContent = typeof found === "number" ? number(found, digits) : found || "–";
      return [term, value];
    }));
    dialog.querySelector("[data-step='-1']").disabled = place === 0;
    dialog.querySelector("[data-step='1']").disabled = place === shown.length - 1;
    if (!dialog.open) dialog.showModal();
  };
  const step = (by) => { if (shown[opened + by] !== undefined) open(opened + by); };
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  dialog.addEventListener("close", () => list.querySelector(`[data-place="${opened}"]`)?.focus());
  dialog.addEventListener("click", (event) => {
    const by = event.target.dataset?.step;
    if (by) step(+by);
    if (event.target === dialog || event.target.dataset?.close !== undefined) dialog.close();
  });
  for (const field of fields) field.addEventListener("input", () => { remember(); apply(); });
  root.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", recall);
  addEventListener("scroll", () => requestAnimationFrame(() => render(false)), { passive: true });
  let width = 0;
  new ResizeObserver(() => { if (width !== view.clientWidth) { width = view.clientWidth; layout(); } }).observe(root);
  root.hidden = false;
  recall();
}
