// A link to a folded section opens it, paper shows everything, and tables that scroll show that they do.
{
  const reveal = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (!target) return;
    for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  document.addEventListener("click", ({ target }) => {
    if (target.closest("a[href^='#']")) setTimeout(reveal); // also where the address stays the same
  });
  reveal();

  const folds = [...document.querySelectorAll("details.fold")];
  const all = document.querySelector(".all-folds");
  if (all) {
    const closed = () => folds.some((fold) => !fold.open);
    const name = () => { all.textContent = closed() ? "Open all sections" : "Close all sections"; };
    all.addEventListener("click", () => { const open = closed(); for (const fold of folds) fold.open = open; });
    for (const fold of folds) fold.addEventListener("toggle", name);
    name();
    all.hidden = false;
  }

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const fold of opened) fold.open = true;
  });
  addEventListener("afterprint", () => { for (const fold of opened) fold.open = false; });

  const watch = new ResizeObserver((changes) => {
    for (const { target } of changes) target.classList.toggle("scrolls", target.scrollWidth > target.clientWidth);
  });
  for (const box of document.querySelectorAll(".scroll")) watch.observe(box);
}
