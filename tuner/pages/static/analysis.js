"use strict";
// Progress, importance, slices and contours.

const GRID = 48;

function startAnalysis() {
  options("progress-of", D.progress.map((one) => one.label), 0, drawProgress);
  $("progress-over").addEventListener("change", drawProgress);
  const labels = D.objectives.map((one) => one.label);
  const names = D.axes.map((one) => one.name);
  const first = D.importance.length ? axisOf(D.importance[0].shares[0]?.[0]) : 0;
  const second = D.importance.length ? axisOf(D.importance[0].shares[1]?.[0], first) : 1;
  options("slice-metric", labels, 0, drawSlice);
  options("slice-axis", names, first, drawSlice);
  options("contour-metric", labels, 0, drawContour);
  options("contour-x", names, first, drawContour);
  options("contour-y", names, second, drawContour);
  views.push({ draw: drawProgress }, { draw: drawImportance }, { draw: drawSlice, mark: later(drawSlice) }, { draw: drawContour, mark: later(drawContour) });
}

// The axis of a parameter, the first of several; another than `not`.
function axisOf(name, not = -1) {
  const fits = (one) => one.name === name || one.name.startsWith(`${name}[`);
  const found = D.axes.findIndex((one, k) => k !== not && fits(one));
  return found >= 0 ? found : Math.max(D.axes.findIndex((_, k) => k !== not), 0);
}

const ended = (row) => (D.start[row] === null ? null : D.start[row] + (D.seconds[row] ?? 0));

function drawProgress() {
  if (empty("progress-plot", "progress")) return;
  const [view, over] = [D.progress[chosenOf("progress-of")], chosenOf("progress-over")];
  const [at, best] = view.over[over];
  const traces = [];
  if (view.metric !== null) {
    const able = thinned(D.able.filter((row) => D.feasible[row]));
    const place = over ? ended : (row) => D.trial[row] + 1;
    traces.push({ type: "scatter", mode: "markers", name: "feasible", x: able.map(place), y: able.map((row) => D.values[view.metric][row]), marker: { color: colour("cloud"), size: 6, opacity: 0.7 }, text: able.map((row) => `trial ${D.trial[row]}`), hovertemplate: "%{text}: %{y:.5g}<extra></extra>" });
  }
  traces.push({ type: "scatter", mode: "lines", name: "so far", x: at, y: best, line: { shape: "hv", color: colour("front"), width: 2.5 }, hovertemplate: "%{x:.5~g}: %{y:.5g}<extra></extra>" });
  if (view.baseline !== null && at.length) {
    traces.push({ type: "scatter", mode: "lines", name: "baseline", x: [0, at.at(-1)], y: [view.baseline, view.baseline], line: { color: colour("baseline"), dash: "dash", width: 1.5 }, hoverinfo: "skip" });
  }
  draw("progress-plot", traces, { xaxis: axis(over ? "seconds since the first trial started" : "trials", { rangemode: "tozero" }), yaxis: axis(view.label) });
}

function drawImportance() {
  if (empty("importance-plot", "importance")) return;
  const names = D.importance[0].shares.map(([name]) => name).slice(0, 14).reverse();
  const palette = [colour("front"), colour("infeasible"), colour("knee"), colour("baseline")];
  const traces = D.importance.map((one, k) => ({
    type: "bar", orientation: "h", name: plain(clipped(one.metric)), y: names.map((_, i) => i), marker: { color: palette[k % palette.length] },
    x: names.map((name) => (one.shares.find(([other]) => other === name) ?? [name, 0])[1]), hovertemplate: "%{x:.1%}<extra></extra>",
  }));
  const plot = $("importance-plot");
  plot.style.height = `${90 + names.length * (14 + 9 * traces.length)}px`;
  draw("importance-plot", traces.reverse(), {
    xaxis: axis("share", { tickformat: ".0%", rangemode: "tozero" }), bargap: 0.25, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "reversed" },
    yaxis: axis("", { tickvals: names.map((_, i) => i), ticktext: names.map((name) => plain(clipped(name, 24))), showgrid: false }),
  });
  if (plot.dataset.bound) return;
  plot.dataset.bound = "yes";
  plot.on("plotly_click", (event) => {
    $("slice-axis").value = String(axisOf(names[event.points[0].y]));
    drawSlice();
  });
}

function scaleOf(k) {
  const { ticks, name } = D.axes[k];
  return axis(name, { range: [-0.04, 1.04], tickvals: ticks.map(([at]) => at), ticktext: ticks.map(([, text]) => plain(clipped(text, 14))) });
}

function drawSlice() {
  if (empty("slice-plot", "progress") || empty("slice-plot", "parallel")) return;
  const [objective, k] = [D.objectives[chosenOf("slice-metric")], chosenOf("slice-axis")];
  const able = thinned(D.able.filter((row) => S.visible[row] && D.axes[k].at[row] !== null));
  const dots = (name, list, marker) => ({ type: "scatter", mode: "markers", name, x: list.map((row) => D.axes[k].at[row]), y: list.map((row) => D.values[objective.metric][row]), marker, text: list.map((row) => plain(tipOf(row, 0)).replaceAll("\n", "<br>")), hovertemplate: "%{text}<extra></extra>" });
  draw("slice-plot", [
    dots("feasible", able.filter((row) => D.feasible[row] && !D.members.has(row)), { color: colour("cloud"), size: 6, opacity: 0.75 }),
    dots("infeasible", able.filter((row) => !D.feasible[row]), { color: colour("infeasible"), size: 6, symbol: "x" }),
    dots(D.objectives.length > 1 ? "front" : "best", able.filter((row) => D.members.has(row)), { color: colour("front"), size: 8 }),
    ...(D.baseline !== null && able.includes(D.baseline) ? [dots("baseline", [D.baseline], { color: colour("baseline"), size: 10, symbol: "diamond" })] : []),
  ].filter((trace) => trace.x.length), { xaxis: scaleOf(k), yaxis: axis(objective.label) });
}

// The mean weighted by a Gaussian kernel (Nadaraya and Watson 1964), as tuner/views/contour.py: bandwidth
// 0.3 n^(-1/6), blank beyond 2.5 bandwidths from every trial.
function smoothed(xs, ys, values) {
  const width = 0.3 * xs.length ** (-1 / 6);
  const weights = (points) => Array.from({ length: GRID }, (_, g) => Float64Array.from(points, (p) => Math.exp(-((g / (GRID - 1) - p) ** 2) / (2 * width ** 2))));
  const [wx, wy] = [weights(xs), weights(ys)];
  const reach = Math.exp(-(2.5 ** 2) / 2);
  return wy.map((down) => wx.map((across) => {
    let [sum, total, most] = [0, 0, 0];
    for (let i = 0; i < values.length; i++) {
      const weight = down[i] * across[i];
      sum += weight * values[i];
      total += weight;
      if (weight > most) most = weight;
    }
    return most > reach ? sum / total : null;
  }));
}

function drawContour() {
  if (empty("contour-plot", "progress") || empty("contour-plot", "parallel")) return;
  const [objective, i, j] = [D.objectives[chosenOf("contour-metric")], chosenOf("contour-x"), chosenOf("contour-y")];
  const [x, y] = [D.axes[i].at, D.axes[j].at];
  const able = thinned(D.able.filter((row) => S.visible[row] && x[row] !== null && y[row] !== null), 2500);
  const values = able.map((row) => D.values[objective.metric][row]);
  const grid = Array.from({ length: GRID }, (_, g) => g / (GRID - 1));
  const scale = Array.from({ length: 6 }, (_, k) => [k / 5, ramp(objective.sign > 0 ? k / 5 : 1 - k / 5, 0.66)]);
  const dots = thinned(able, 400);
  draw("contour-plot", [
    { type: "contour", x: grid, y: grid, z: smoothed(able.map((row) => x[row]), able.map((row) => y[row]), values), colorscale: scale, showscale: false, ncontours: 14, opacity: 0.85, contours: { showlabels: true, labelfont: { size: 10, color: "#fff" } }, line: { width: 0.6 }, hovertemplate: "%{z:.5g}<extra></extra>" },
    { type: "scatter", mode: "markers", x: dots.map((row) => x[row]), y: dots.map((row) => y[row]), marker: { size: 4.5, color: colour("card"), line: { color: colour("ink"), width: 0.8 } }, text: dots.map((row) => plain(tipOf(row, 0)).replaceAll("\n", "<br>")), hovertemplate: "%{text}<extra></extra>", showlegend: false },
  ], { xaxis: { ...scaleOf(i), showgrid: false }, yaxis: { ...scaleOf(j), showgrid: false } });
}
