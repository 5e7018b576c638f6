"use strict";
// Parallel coordinates on a canvas: Plotly's own need WebGL code that is compiled while the page runs, which the page's
// security policy forbids. An axis is dragged, or moved with the arrow keys, to filter every view.

const ROOM = { top: 26, bottom: 26, side: 60, least: 84 };
const MOST_LINES = 2500; // while something moves; all of them a moment later
const parallel = { near: -1, still: 0 };

// A scale for each parameter, then one for each metric with a goal.
function makeScales() {
  const scales = D.axes.map((one) => ({ ...one }));
  for (const objective of D.objectives) {
    const values = D.values[objective.metric].map((value, row) => (D.compared[row] ? value : null));
    const known = values.filter((value) => value !== null);
    const low = known.reduce((a, b) => Math.min(a, b), Infinity);
    const high = known.reduce((a, b) => Math.max(a, b), -Infinity);
    const at = values.map((value) => (value === null ? null : high > low ? (value - low) / (high - low) : 0.5));
    const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => [share, number(low + share * (high - low))]);
    if (known.length) scales.push({ name: objective.label, at, ticks: high > low ? ticks : [[0.5, number(low)]], objective });
  }
  return scales;
}

function startParallel() {
  options("parallel-colour", D.objectives.map((one) => one.label), 0, () => markParallel());
  D.scales.forEach((scale, k) => $("parallel-body").append(makeAxis(scale, k)));
  views.push({ draw: drawParallel, mark: markParallel });
  new ResizeObserver(() => drawParallel()).observe($("parallel").querySelector(".scroll"));
}

function makeAxis(scale, k) {
  const made = element("div", null, "axis");
  made.tabIndex = 0;
  made.setAttribute("role", "group");
  made.setAttribute("aria-label", `${scale.name}: drag or use the arrow keys to filter`);
  made.append(Object.assign(element("div", scale.name, "name"), { title: scale.name }), element("div", null, "line"));
  scale.ticks.forEach(([at, text]) => {
    const tick = element("div", text, "tick");
    tick.dataset.at = at;
    made.append(tick);
  });
  made.append(Object.assign(element("div", null, "brush"), { hidden: true }));
  made.addEventListener("pointerdown", (event) => dragAxis(event, made, k));
  made.addEventListener("keydown", (event) => keyAxis(event, k));
  scale.element = made;
  return made;
}

function geometry() {
  const least = table.printing ? 0 : ROOM.least; // paper does not scroll
  const width = Math.max($("parallel").querySelector(".scroll").clientWidth, 2 * ROOM.side + (D.scales.length - 1) * least);
  const height = $("parallel-body").clientHeight;
  const step = D.scales.length > 1 ? (width - 2 * ROOM.side) / (D.scales.length - 1) : 0;
  return { width, height, step, x: (k) => ROOM.side + k * step, y: (at) => height - ROOM.bottom - at * (height - ROOM.top - ROOM.bottom) };
}

function drawParallel() {
  const { width, height, step, x, y } = (parallel.space = geometry());
  $("parallel-body").style.width = `${width}px`;
  D.scales.forEach((scale, k) => {
    const made = scale.element;
    made.style.left = `${x(k)}px`;
    const [name, line] = [made.querySelector(".name"), made.querySelector(".line")];
    name.style.left = name.style.right = `${Math.max((64 - (step || 128)) / 2, -44) + 2}px`;
    line.style.top = `${y(1)}px`;
    line.style.height = `${y(0) - y(1)}px`;
    made.querySelectorAll(".tick").forEach((tick) => { tick.style.top = `${y(Number(tick.dataset.at))}px`; });
  });
  parallel.context = sharp($("parallel-lines"), width, height)[0];
  markParallel();
}

function markParallel() {
  D.scales.forEach((scale, k) => {
    const brush = scale.element.querySelector(".brush");
    const range = S.brushes.get(k);
    brush.hidden = !range;
    if (!range) return;
    brush.style.top = `${parallel.space.y(range[1])}px`;
    brush.style.height = `${Math.max(parallel.space.y(range[0]) - parallel.space.y(range[1]), 3)}px`;
  });
  paintLines(MOST_LINES);
  clearTimeout(parallel.still);
  if (S.count > MOST_LINES) parallel.still = setTimeout(() => paintLines(Infinity), 250);
}

function paintLines(most) {
  const { context, space } = parallel;
  context.clearRect(0, 0, space.width, space.height);
  const { able } = D;
  const hidden = thinned(able.filter((row) => !S.visible[row]), 800);
  const shown = thinned(able.filter((row) => S.visible[row]), most);
  strokeRows(hidden, colour("rule"), 0.5, 1);
  const objective = D.objectives[chosenOf("parallel-colour")];
  objective.rank ??= ranks(objective, able);
  const bins = Array.from({ length: 24 }, () => []);
  shown.forEach((row) => bins[Math.min(Math.floor(objective.rank[row] * 24), 23)].push(row));
  const alpha = Math.min(0.75, Math.max(0.12, 8 / Math.sqrt(1 + shown.length)));
  bins.forEach((list, k) => strokeRows(list, ramp(k / 23), alpha, shown.length > 400 ? 1 : 1.5));
  S.pinned.forEach((row, k) => strokeRows([row], PINS[k], 1, 2.6));
  if (parallel.near >= 0) strokeRows([parallel.near], colour("ink"), 1, 2);
}

// From 0, the worst trial by an objective, to 1, the best: what is best stands out however the values lie.
function ranks(objective, able) {
  const values = D.values[objective.metric];
  const order = [...able].sort((a, b) => objective.sign * (values[a] - values[b]));
  const found = new Float64Array(D.trial.length);
  order.forEach((row, k) => { found[row] = order.length > 1 ? k / (order.length - 1) : 1; });
  return found;
}

function strokeRows(list, stroke, alpha, width) {
  if (!list.length) return;
  const { context, space } = parallel;
  Object.assign(context, { strokeStyle: stroke, globalAlpha: alpha, lineWidth: width });
  context.beginPath();
  const places = D.scales.map((scale, k) => [scale.at, space.x(k)]);
  for (const row of list) {
    places.forEach(([at, x], k) => {
      const y = at[row] === null ? space.height - 9 : space.y(at[row]); // inactive: below the scale
      if (k) context.lineTo(x, y); else context.moveTo(x, y);
    });
  }
  context.stroke();
}

function hoverParallel(row) {
  if (row === parallel.near) return;
  parallel.near = row;
  requestAnimationFrame(() => paintLines(MOST_LINES));
}

function setBrush(k, low, high) {
  if (low <= 0 && high >= 1) S.brushes.delete(k);
  else S.brushes.set(k, [Math.max(low, 0), Math.min(high, 1)]);
  refilter();
}

function dragAxis(event, made, k) {
  if (event.button !== 0) return;
  const top = made.getBoundingClientRect().top;
  const { height } = parallel.space;
  const at = (e) => Math.min(Math.max((height - ROOM.bottom - (e.clientY - top)) / (height - ROOM.top - ROOM.bottom), 0), 1);
  const first = at(event);
  const from = event.clientY;
  made.setPointerCapture(event.pointerId);
  const move = (e) => { if (Math.abs(e.clientY - from) > 3) setBrush(k, Math.min(first, at(e)), Math.max(first, at(e))); };
  const up = (e) => {
    made.removeEventListener("pointermove", move);
    if (Math.abs(e.clientY - from) <= 3) { S.brushes.delete(k); refilter(); }
  };
  made.addEventListener("pointermove", move);
  made.addEventListener("pointerup", up, { once: true });
  made.addEventListener("pointercancel", up, { once: true });
}

// Up raises the lower end, Down lowers the upper end; with Shift they widen again.
function keyAxis(event, k) {
  const [low, high] = S.brushes.get(k) ?? [0, 1];
  if (event.key === "Escape" || event.key === "Delete") setBrush(k, 0, 1);
  else if (event.key === "ArrowUp") event.shiftKey ? setBrush(k, low, high + 0.05) : setBrush(k, Math.min(low + 0.05, high), high);
  else if (event.key === "ArrowDown") event.shiftKey ? setBrush(k, low - 0.05, high) : setBrush(k, low, Math.max(high - 0.05, low));
  else return;
  event.preventDefault();
}
