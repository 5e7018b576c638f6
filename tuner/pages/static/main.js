"use strict";
// Unpack, start the views, draw them one after the other; theme, print.

let drawing = 0;

// All the views one after the other; the page answers between two of them. A later call ends an earlier one.
async function drawAll() {
  const own = ++drawing;
  for (const view of views) {
    if (own !== drawing) return;
    view.draw();
    await new Promise((resume) => setTimeout(resume));
  }
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  return drawAll();
}

function preferredTheme() {
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

// Plotly's source is text until here; the policy names its hash. What its styles would break the policy is kept out.
async function loadPlotly() {
  const source = await unpack("plotly");
  for (const [, id] of source.matchAll(/getElementById\("([0-9a-f]{64})"\)/g)) {
    if (!$(id)) document.head.append(Object.assign(document.createElement("meta"), { id }));
  }
  document.body.append(Object.assign(document.createElement("script"), { textContent: source }));
}

function beforePrint() {
  if (table.printing) return;
  table.printing = document.documentElement.dataset.theme;
  document.documentElement.classList.add("printing");
  redrawAt("light");
}

function afterPrint() {
  if (!table.printing) return;
  const theme = table.printing;
  table.printing = false;
  document.documentElement.classList.remove("printing");
  redrawAt(theme);
}

// At once: a page that is printed does not wait.
function redrawAt(theme) {
  document.documentElement.dataset.theme = theme;
  drawing++;
  views.forEach((view) => view.draw());
  document.querySelectorAll(".js-plotly-plot").forEach((plot) => {
    if (!table.printing) { delete plot.layout.width; delete plot.layout.height; }
    Plotly.relayout(plot, table.printing ? { width: plot.clientWidth, height: plot.clientHeight } : { autosize: true });
  });
  markFront();
  drawParallel();
}

async function start() {
  document.documentElement.dataset.theme = preferredTheme();
  const [text] = await Promise.all([unpack("data"), loadPlotly()]);
  D = JSON.parse(text);
  D.able = [...rows()].filter((row) => D.compared[row]); // completed, at the highest fidelity: what plots compare
  D.members = new Set(D.front);
  D.columns = makeColumns();
  D.scales = makeScales();
  S.visible = new Uint8Array(D.trial.length).fill(1);
  S.count = D.trial.length;
  [startFront, startPins, startParallel, startTable, startAnalysis, startHistory].forEach((begin) => begin());
  describeFilters();
  $("clear").addEventListener("click", clearFilters);
  $("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  $("print").addEventListener("click", () => window.print());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(preferredTheme()));
  window.addEventListener("beforeprint", beforePrint);
  window.addEventListener("afterprint", afterPrint);
  await drawAll();
  document.documentElement.dataset.ready = "yes";
}

start().catch((error) => {
  $("trouble").hidden = false;
  $("trouble").textContent = `The plots cannot be drawn: ${error.message}. A browser of 2023 or newer is needed.`;
});
