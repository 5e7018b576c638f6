"use strict";
// The front: Plotly draws axes, front, knee and baseline; the cloud behind it, up to all trials, is a canvas, so that
// marking ten thousand dots takes milliseconds.

const front = { x: null, y: null, near: -1, walking: -1 };

function frontMeasures() {
  const metrics = D.objectives.map((one) => ({ label: one.label, of: (row) => D.values[one.metric][row], sign: one.sign, metric: one.metric }));
  const others = D.metrics.map((name, k) => ({ label: name, of: (row) => D.values[k][row], sign: 0, metric: k })).filter((one) => !D.objectives.some((o) => o.metric === one.metric));
  return [...metrics, ...others, { label: "trial", of: (row) => D.trial[row], sign: 0, metric: null }];
}

function startFront() {
  const measures = frontMeasures();
  const several = D.objectives.length > 1;
  if (!several) $("front-title").textContent = "Trials by their metric";
  const changed = () => { S.box = null; refilter(); drawFront(); };
  options("front-x", measures.map((one) => one.label), several ? 1 : measures.length - 1, changed);
  options("front-y", measures.map((one) => one.label), 0, changed);
  front.measures = measures;
  const dim = later(dimFront);
  views.push({ draw: drawFront, mark: () => { markFront(); dim(); } });
  const stack = $("front-stack");
  stack.addEventListener("mousemove", (event) => hoverFront(event), true);
  stack.addEventListener("mouseleave", () => tipAt(-1));
  stack.addEventListener("mousedown", (event) => { front.down = event.button === 0 && event.target.closest(".nsewdrag") ? [event.clientX, event.clientY] : null; }, true);
  window.addEventListener("mouseup", clickFront, true);
  stack.addEventListener("keydown", walkFront);
}

function drawFront() {
  if (empty("front-plot", "progress")) return;
  const [x, y] = [front.measures[chosenOf("front-x")], front.measures[chosenOf("front-y")]];
  const members = [...D.front].sort((a, b) => x.of(a) - x.of(b) || y.of(a) - y.of(b));
  Object.assign(front, { x, y, members, dimmed: null });
  const stairs = D.objectives.length === 2 && x.sign && y.sign && x !== y;
  const dots = (name, list, marker, more = {}) => ({ type: "scatter", mode: "markers", name, x: list.map(x.of), y: list.map(y.of), marker, hoverinfo: "skip", ...more });
  const traces = [
    dots(D.objectives.length > 1 ? "front" : "best", members, { color: colour("front"), size: 9, line: { color: colour("card"), width: 1 } }, stairs ? { mode: "lines+markers", line: { shape: x.sign > 0 ? "vh" : "hv", color: colour("front"), width: 1.5 } } : {}),
  ];
  if (D.chosen !== null && D.objectives.length > 1) traces.push(dots(D.role, [D.chosen], { color: colour("knee"), symbol: "star", size: 15, line: { color: colour("card"), width: 1 } }));
  if (D.baseline !== null) traces.push(dots("baseline", [D.baseline], { color: colour("baseline"), symbol: "diamond", size: 12, line: { color: colour("card"), width: 1 } }));
  const cloud = { type: "scatter", mode: "markers", x: [null], y: [null], hoverinfo: "skip" }; // only its name in the legend
  traces.push({ ...cloud, name: D.objectives.length > 1 ? "dominated" : "feasible", marker: { color: colour("cloud"), size: 7 } });
  if (D.able.some((row) => !D.feasible[row])) traces.push({ ...cloud, name: "infeasible", marker: { color: colour("infeasible"), symbol: "x", size: 7 } });
  const [xr, yr] = [spanOf(x), spanOf(y)];
  const shapes = [...boundShapes(x, "x"), ...boundShapes(y, "y")];
  draw("front-plot", traces, { xaxis: axis(x.label, { range: xr }), yaxis: axis(y.label, { range: yr }), dragmode: "select", selectdirection: "any", shapes, newselection: { line: { color: colour("accent") } } }, ["select2d"]);
  if (!front.bound) bindFront();
  markFront();
  dimFront();
}

// Members of the front that the choices leave out fade, as the cloud does.
function dimFront() {
  if (!front.members) return;
  const opacity = front.members.map((row) => (S.visible[row] ? 1 : 0.15));
  if (String(opacity) !== front.dimmed) Plotly.restyle($("front-plot"), { "marker.opacity": [opacity] }, [0]);
  front.dimmed = String(opacity);
}

function spanOf(measure) {
  const values = D.able.map(measure.of).filter((value) => value !== null);
  const [low, high] = [values.reduce((a, b) => Math.min(a, b), Infinity), values.reduce((a, b) => Math.max(a, b), -Infinity)];
  const pad = (high - low || Math.abs(high) || 1) * 0.05;
  return [low - pad, high + pad];
}

// Beyond a metric's bound: shaded.
function boundShapes(measure, letter) {
  if (measure.metric === null) return [];
  const [least, most] = D.bounds[measure.metric];
  const other = letter === "x" ? "y" : "x";
  const span = spanOf(measure);
  const shape = (from, to) => ({ type: "rect", layer: "below", line: { width: 0 }, fillcolor: colour("infeasible"), opacity: 0.1, [`${letter}0`]: from, [`${letter}1`]: to, [`${other}ref`]: "paper", [`${other}0`]: 0, [`${other}1`]: 1 });
  return [...(least !== null && least > span[0] ? [shape(span[0] - 9 * Math.abs(least - span[0]), least)] : []), ...(most !== null && most < span[1] ? [shape(most, span[1] + 9 * Math.abs(span[1] - most))] : [])];
}

function bindFront() {
  front.bound = true;
  const plot = $("front-plot");
  plot.on("plotly_relayout", markFront);
  plot.on("plotly_afterplot", markFront);
  plot.on("plotly_selected", (event) => {
    if (!event || !event.range) return;
    const { x, y } = event.range;
    S.box = { x: front.x, y: front.y, low: [Math.min(...x), Math.min(...y)], high: [Math.max(...x), Math.max(...y)] };
    refilter();
  });
  plot.on("plotly_deselect", () => { if (S.box) { S.box = null; refilter(); } });
}

// Pixels of a trial within the plot; null where it has no place.
function placeOf(row) {
  const layout = $("front-plot")._fullLayout;
  const [u, v] = [front.x.of(row), front.y.of(row)];
  if (!layout || !D.compared[row] || u === null || v === null) return null;
  return [layout.xaxis._offset + layout.xaxis.d2p(u), layout.yaxis._offset + layout.yaxis.d2p(v)];
}

function markFront() {
  const layout = $("front-plot")._fullLayout;
  if (!layout) return;
  const [context, width, height] = sharp($("front-cloud"), layout.width, layout.height);
  context.clearRect(0, 0, width, height);
  context.save();
  context.beginPath();
  context.rect(layout.xaxis._offset - 4, layout.yaxis._offset - 4, layout.xaxis._length + 8, layout.yaxis._length + 8);
  context.clip();
  const many = D.trial.length > 3000;
  const off = S.count < D.trial.length;
  for (const shown of [0, 1]) {
    for (const feasible of [0, 1]) {
      context.globalAlpha = shown ? (many ? 0.45 : 0.8) : 0.1;
      context.fillStyle = context.strokeStyle = feasible ? (off && shown ? front.accent : front.cloud) : front.infeasible;
      for (const row of D.able) {
        if (S.visible[row] !== shown || D.feasible[row] !== feasible) continue;
        const place = placeOf(row);
        if (place) dot(context, place, feasible, many);
      }
    }
  }
  context.globalAlpha = 1;
  S.pinned.forEach((row, k) => {
    const place = placeOf(row);
    if (!place) return;
    context.strokeStyle = PINS[k];
    context.lineWidth = 3;
    context.beginPath();
    context.arc(...place, 10, 0, 7);
    context.stroke();
  });
  context.restore();
}

function dot(context, [x, y], feasible, many) {
  if (many) { // squares of a few pixels look like dots, and are painted several times as fast
    context.fillRect(x - 2, y - 2, 4, 4);
    return;
  }
  context.beginPath();
  if (feasible) {
    context.arc(x, y, 3.4, 0, 7);
    context.fill();
  } else {
    context.lineWidth = 1.4;
    context.moveTo(x - 3.4, y - 3.4);
    context.lineTo(x + 3.4, y + 3.4);
    context.moveTo(x + 3.4, y - 3.4);
    context.lineTo(x - 3.4, y + 3.4);
    context.stroke();
  }
}

// A canvas of so many CSS pixels, sharp on the reader's screen.
function sharp(canvas, width, height) {
  const density = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * density), Math.round(height * density)];
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(density, 0, 0, density, 0, 0);
  [front.cloud, front.accent, front.infeasible] = [colour("cloud"), colour("accent"), colour("infeasible")];
  return [context, width, height];
}

function nearest(event) {
  const box = $("front-stack").getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  let [best, least] = [-1, 14 ** 2];
  for (const row of D.able) {
    if (!S.visible[row]) continue;
    const place = placeOf(row);
    const far = place ? (place[0] - x) ** 2 + (place[1] - y) ** 2 - (D.members.has(row) ? 9 : 0) : Infinity;
    if (far < least) [best, least] = [row, far];
  }
  return best;
}

function hoverFront(event) {
  if (event.buttons || !front.x) return;
  tipAt(event.target.closest(".nsewdrag") ? nearest(event) : -1);
}

function tipAt(row) {
  const tip = $("front-tip");
  tip.hidden = row < 0;
  if (row === front.near && row >= 0) return;
  front.near = row;
  if (row >= 0) {
    const place = placeOf(row);
    tip.textContent = tipOf(row);
    const right = place[0] > $("front-stack").clientWidth / 2;
    tip.style.left = right ? "auto" : `${place[0] + 16}px`;
    tip.style.right = right ? `${$("front-stack").clientWidth - place[0] + 16}px` : "auto";
    tip.style.top = `${Math.max(Math.min(place[1] - 20, $("front-stack").clientHeight - tip.offsetHeight), 0)}px`;
  }
  hoverParallel(row);
}

function clickFront(event) {
  const down = front.down;
  front.down = null;
  if (!down || Math.hypot(event.clientX - down[0], event.clientY - down[1]) > 4) return;
  const row = nearest(event);
  if (row >= 0) pin(row);
}

// The keyboard walks along the front, left to right.
function walkFront(event) {
  const members = D.front.filter((row) => S.visible[row] && placeOf(row)).sort((a, b) => front.x.of(a) - front.x.of(b));
  const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
  if (step && members.length) {
    const at = members.indexOf(front.walking);
    front.walking = members[at < 0 ? 0 : (at + step + members.length) % members.length];
    tipAt(front.walking);
  } else if ((event.key === "Enter" || event.key === " ") && front.walking >= 0) {
    pin(front.walking);
  } else if (event.key === "Escape") {
    front.walking = -1;
    tipAt(-1);
    S.box = null;
    refilter();
  } else return;
  event.preventDefault();
}
