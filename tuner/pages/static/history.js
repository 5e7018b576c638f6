"use strict";
// What happened while the sweep ran: learning curves and where they were stopped, slots over time and their idleness.

const STATES = { completed: "cloud", pruned: "warn", failed: "bad", infeasible: "infeasible", running: "accent", waiting: "rule" };

function startHistory() {
  views.push({ draw: drawCurves }, { draw: drawTimeline });
}

// Many lines as one trace: they are drawn as one path.
function joined(curves) {
  const [x, y, text] = [[], [], []];
  for (const one of curves) {
    x.push(...one.steps, null);
    y.push(...one.values, null);
    text.push(...one.steps.map(() => `trial ${D.trial[one.row]}, ${stateOf(one.row)}`), null);
  }
  return { type: "scatter", x, y, text, hovertemplate: "%{text}: %{y:.5g} at %{x}<extra></extra>" };
}

function drawCurves() {
  if (empty("curves-plot", "curves")) return;
  const { curves, label, best, left_out: left } = D.curves;
  const of = (test) => curves.filter(test);
  const stopped = of((one) => stateOf(one.row) === "pruned");
  const ends = stopped.map((one) => ({ row: one.row, steps: one.steps.slice(-1), values: one.values.slice(-1) }));
  const traces = [
    { ...joined(of((one) => stateOf(one.row) !== "pruned" && one.row !== best)), mode: "lines", name: "not stopped", line: { color: colour("front"), width: 1 }, opacity: 0.45 },
    { ...joined(stopped), mode: "lines", name: "stopped", line: { color: colour("warn"), width: 1 }, opacity: 0.5 },
    { ...joined(ends), mode: "markers", name: "where", marker: { symbol: "x", size: 7, color: colour("warn") } },
    { ...joined(of((one) => one.row === best)), mode: "lines", name: "best", line: { color: colour("knee"), width: 3 } },
  ].filter((trace) => trace.x.length);
  const steps = curves.every((one) => one.steps.length < 2);
  if (steps) traces.forEach((trace) => { trace.mode = "markers"; });
  draw("curves-plot", traces, { xaxis: axis(left ? `step (${left} more trials have curves)` : "step"), yaxis: axis(label) });
}

function drawTimeline() {
  if (empty("timeline-plot", "timeline")) return;
  const { busy, gaps, seconds } = D.timeline;
  const bars = (list) => {
    const [x, y, text] = [[], [], []];
    for (const [lane, start, length, said] of list) {
      x.push(start, start + length, null);
      y.push(lane, lane, null);
      text.push(said, said, null);
    }
    return { type: "scatter", mode: "lines", x, y, text, hovertemplate: "%{text}<extra></extra>" };
  };
  const width = Math.max(6, Math.min(18, 220 / D.lanes.length));
  const line = (name) => ({ color: colour(name), width, simplify: false });
  const traces = [{ ...bars(gaps.map(([lane, start, length]) => [lane, start, length, `idle for ${number(length)} s`])), name: "idle", line: line("gap") }];
  for (const state of D.state.names) {
    const own = [...rows()].filter((row) => D.lane[row] !== null && stateOf(row) === state);
    const list = own.map((row) => [D.lane[row], D.start[row], D.seconds[row] ?? Math.max(seconds - D.start[row], 0), plain(`trial ${D.trial[row]}, ${state}${failureOf(row) ? `: ${failureOf(row)}` : ""}, ${number(D.seconds[row])} s`)]);
    if (list.length) traces.push({ ...bars(list), name: state, line: line(state === "completed" ? "front" : STATES[state] ?? "cloud") });
  }
  $("timeline-plot").style.height = `${110 + Math.min(D.lanes.length, 40) * 30}px`;
  draw("timeline-plot", traces.filter((trace) => trace.x.length), {
    xaxis: axis("seconds since the first trial started", { range: [-0.01 * seconds, 1.01 * seconds] }),
    yaxis: axis("", { range: [D.lanes.length - 0.4, -0.6], showgrid: false, tickvals: D.lanes.map((_, k) => k), ticktext: D.lanes.map((name, k) => plain(`${clipped(name, 20)}  ${Math.round(100 * busy[k])}%`)) }),
  });
  const longest = gaps.slice(0, 3).map(([lane, start, length]) => `${number(length)} s on ${D.lanes[lane]} from ${number(start)} s`);
  const slots = busy.filter((_, k) => D.lanes[k].startsWith("slot "));
  const mean = slots.reduce((a, b) => a + b, 0) / slots.length;
  $("gaps").textContent = slots.length ? `A trial ran on the slots ${Math.round(100 * mean)}% of the time.${longest.length ? ` Longest idle: ${longest.join("; ")}.` : ""}` : "These trials ran elsewhere: they were asked for and told.";
}
