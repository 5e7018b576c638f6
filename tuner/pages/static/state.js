"use strict";
// State: the data of the report, and what the reader has chosen: brushes, a box on the front, a query, pinned trials.
// Everything a user or a trial wrote reaches the page as text: textContent here, escaped in what Plotly draws.

let D = null; // what tuner/pages/data.py wrote
const S = { brushes: new Map(), box: null, query: null, queryText: "", pinned: [], active: null, visible: null, count: 0 };
const views = []; // { draw(): all of it, mark(): only what the choices change }

const $ = (id) => document.getElementById(id);

// Without what would act on a reader: controls, marks that turn the direction of writing.
const legible = (text) => String(text).replace(/(?!\n)[\p{C}\p{Zl}\p{Zp}]/gu, " ");

function element(tag, text, ...classes) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = legible(text);
  if (classes.length) made.className = classes.join(" ");
  return made;
}

async function unpack(id) {
  const raw = atob($(id).textContent.trim());
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

// A number to five digits, as `%.5g` writes it.
function number(value) {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e5)) return value.toExponential(4).replace(/\.?0+e/, "e");
  return String(Number(value.toPrecision(5)));
}

// A parameter's JSON text as people read it.
function reading(text) {
  return text === null ? "" : readable(JSON.parse(text));
}

function readable(value) {
  if (typeof value === "number") return number(value);
  if (Array.isArray(value)) return `[${value.map(readable).join(", ")}]`;
  if (value !== null && typeof value === "object") return `{${Object.entries(value).map(([k, v]) => `${k}: ${readable(v)}`).join(", ")}}`;
  return legible(value).replaceAll("\n", " ");
}

const stateOf = (row) => D.state.names[D.state.of[row]];
const failureOf = (row) => (D.failure.of[row] === null ? "" : D.failure.names[D.failure.of[row]]);
const rows = () => D.trial.keys();

// Every column that a query, the table and the tip know: its name, a reader's text, a number where it is one.
function makeColumns() {
  const columns = [
    { name: "trial", numeric: true, text: (r) => String(D.trial[r]), value: (r) => D.trial[r] },
    { name: "state", text: stateOf, value: stateOf },
  ];
  D.metrics.forEach((name, k) => columns.push({ name, numeric: true, metric: true, text: (r) => number(D.values[k][r]), value: (r) => D.values[k][r] }));
  D.parameters.forEach((name, k) => {
    const texts = D.config[k];
    if (new Set(texts).size < 2 && texts.length > 1) return; // a constant
    const numeric = texts.every((text) => text === null || /^-?[\d.]/.test(text));
    columns.push({ name, numeric, parameter: true, text: (r) => reading(texts[r]), value: (r) => (texts[r] === null ? null : plainValue(texts[r])) });
  });
  if (D.fidelity.some((value) => value !== null)) columns.push({ name: "fidelity", numeric: true, text: (r) => number(D.fidelity[r]), value: (r) => D.fidelity[r] });
  columns.push({ name: "seconds", numeric: true, text: (r) => number(D.seconds[r]), value: (r) => D.seconds[r] });
  columns.push({ name: "failure", text: failureOf, value: failureOf });
  columns.push({ name: "engine", text: (r) => D.engine.names[D.engine.of[r]], value: (r) => D.engine.names[D.engine.of[r]] });
  return columns;
}

function plainValue(text) {
  const value = JSON.parse(text);
  return typeof value === "number" || typeof value === "string" ? value : text;
}

// `lr<1e-3 "a name"=x state!=failed word`: terms that must all hold. Returns a test of a row; throws a sentence.
function parseQuery(text) {
  const terms = text.match(/(?:"[^"]*"|[^\s"])+/g) || [];
  const tests = terms.map((term) => {
    const [, quoted, bare, sign, wanted] = term.match(/^(?:"([^"]*)"|([^<>=!"]+))(<=|>=|!=|=|<|>)(.+)$/) || [];
    if (sign === undefined) return wordTest(term.replaceAll('"', ""));
    const name = quoted ?? bare;
    const column = D.columns.find((one) => one.name === name);
    if (!column) throw new Error(`there is no column ${name}; there are: ${D.columns.map((one) => one.name).join(", ")}`);
    return comparison(column, sign, wanted.replaceAll('"', ""));
  });
  return tests.length ? (row) => tests.every((test) => test(row)) : null;
}

function wordTest(word) {
  const wanted = word.toLowerCase();
  return (row) => D.columns.some((column) => column.text(row).toLowerCase().includes(wanted));
}

function comparison(column, sign, wanted) {
  const limit = Number(wanted);
  if (sign === "=" || sign === "!=") {
    const same = (value) => (typeof value === "number" ? value === limit : String(value ?? "") === wanted);
    return (row) => same(column.value(row)) === (sign === "=");
  }
  if (Number.isNaN(limit)) throw new Error(`${column.name}${sign} needs a number, but got ${wanted}`);
  const holds = { "<": (v) => v < limit, "<=": (v) => v <= limit, ">": (v) => v > limit, ">=": (v) => v >= limit }[sign];
  return (row) => typeof column.value(row) === "number" && holds(column.value(row));
}

// Which trials all the choices leave; then every view marks them.
function refilter() {
  const brushes = [...S.brushes].map(([axis, [low, high]]) => ({ at: D.scales[axis].at, low, high }));
  const box = S.box;
  S.count = 0;
  for (const row of rows()) {
    const shown =
      brushes.every(({ at, low, high }) => at[row] !== null && at[row] >= low - 1e-9 && at[row] <= high + 1e-9) &&
      (!box || (box.x.of(row) >= box.low[0] && box.x.of(row) <= box.high[0] && box.y.of(row) >= box.low[1] && box.y.of(row) <= box.high[1] && D.compared[row])) &&
      (!S.query || S.query(row));
    S.visible[row] = shown ? 1 : 0;
    S.count += shown;
  }
  describeFilters();
  mark();
}

let marking = 0;
function mark() {
  if (!marking) marking = requestAnimationFrame(() => { marking = 0; views.forEach((view) => view.mark && view.mark()); });
}

function describeFilters() {
  $("showing").textContent = `${S.count.toLocaleString("en")} of ${D.trial.length.toLocaleString("en")} trials`;
  const names = [...S.brushes.keys()].map((axis) => D.scales[axis].name);
  const chips = [...names, ...(S.box ? ["box on the front"] : []), ...(S.queryText ? [S.queryText] : [])];
  $("chips").replaceChildren(...chips.map((text) => element("span", text, "chip")));
  $("clear").hidden = !chips.length;
}

function clearFilters() {
  S.brushes.clear();
  S.box = S.query = null;
  S.queryText = $("query").value = "";
  $("query-error").hidden = true;
  refilter();
}

function pin(row) {
  if (S.pinned.includes(row)) {
    if (S.active !== row) S.active = row; // a second click on what is pinned shows it; a third lets go
    else S.pinned = S.pinned.filter((one) => one !== row);
    if (!S.pinned.includes(S.active)) S.active = S.pinned.at(-1) ?? null;
  } else {
    S.pinned = [...S.pinned, row].slice(-5);
    S.active = row;
  }
  mark();
}

// Not before the reader has come to rest.
function later(work) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, 250);
  };
}
