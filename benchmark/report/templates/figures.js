// Figures can be enlarged, and charts saved; a trial that is pointed at is highlighted in all tables and charts.
{
  const button = (text, label, press) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.setAttribute("aria-label", label);
    made.addEventListener("click", press);
    return made;
  };

  const dialog = document.createElement("dialog"), title = document.createElement("p"), box = document.createElement("div");
  const close = button("Close", "Close", () => dialog.close());
  dialog.className = "enlarged-figure";
  title.id = "enlarged-title";
  dialog.setAttribute("aria-labelledby", title.id);
  box.tabIndex = 0; // it scrolls
  box.setAttribute("role", "group");
  box.setAttribute("aria-labelledby", title.id);
  dialog.append(close, title, box);
  dialog.addEventListener("click", ({ target }) => { if (target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => box.replaceChildren());
  document.body.append(dialog);
  const enlarge = (figure) => {
    title.textContent = called(figure);
    box.replaceChildren(figure.querySelector("svg, img").cloneNode(true));
    dialog.showModal();
  };

  // A file of its own: the variables of the page become the colours and fonts of the light page.
  const save = (figure) => {
    const drawing = figure.querySelector("svg").cloneNode(true), light = document.styleSheets[0].cssRules[0].style;
    const [, , width, height] = drawing.getAttribute("viewBox").split(/[ ,]+/);
    drawing.setAttribute("width", width);
    drawing.setAttribute("height", height);
    for (const mark of drawing.querySelectorAll(".faint, .lit")) mark.removeAttribute("class");
    const text = new XMLSerializer().serializeToString(drawing).replace(/var\((--[\w-]+)\)/g,
      (_, name) => light.getPropertyValue(name).trim().replaceAll('"', "'"));
    const link = document.createElement("a");
    link.href = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
    link.download = `${called(figure).replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "")}.svg`;
    link.click();
  };

  const called = (figure) => figure.dataset.title ?? figure.querySelector("img").alt;
  for (const figure of document.querySelectorAll("figure.chart, figure:has(> img)")) {
    const tools = document.createElement("div"), picture = figure.querySelector("svg, img");
    tools.className = "tools";
    tools.append(button("Enlarge", `Enlarge ${called(figure)}`, () => enlarge(figure)));
    if (figure.matches(".chart")) tools.append(button("Save SVG", `Save SVG of ${called(figure)}`, () => save(figure)));
    picture.after(tools);
    picture.addEventListener("click", () => enlarge(figure));
  }

  // A trial ("backbone, strategy, seed 0") and its cell ("backbone, strategy") belong together.
  const bare = (name) => name.replace(/, seed -?\d+$/, "");
  const highlight = ({ target }) => {
    const name = target.closest?.("[data-cell]")?.dataset.cell;
    for (const mark of document.querySelectorAll("[data-cell]")) {
      const other = mark.dataset.cell;
      mark.classList.toggle("lit", name !== undefined && (other === name || other === bare(name) || bare(other) === name));
    }
  };
  document.addEventListener("pointerover", highlight);
  document.addEventListener("focusin", highlight);
}
