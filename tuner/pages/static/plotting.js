"use strict";
// Plotting: what all the plots share: colours of the theme, a layout, escaping.

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const PINS = ["#e0457b", "#0aa5c2", "#d99a00", "#7a5af8", "#4f9e2f"]; // distinct in light and dark
const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // viridis, five of its colours
const MOST_DOTS = 1500; // of a plot drawn in SVG; more are thinned evenly

// Plotly reads some HTML in every text that it draws.
const plain = (text) => legible(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const clipped = (text, most = 28) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

// What is better stands out: bright on dark, dark on light. `most` keeps clear of the brightest.
function ramp(share, most = 0.9) {
  const dark = document.documentElement.dataset.theme === "dark";
  const place = Math.min(Math.max(dark ? 0.2 + (most + 0.1 - 0.2) * share : most * (1 - share), 0), 1) * (RAMP.length - 1);
  const k = Math.min(Math.floor(place), RAMP.length - 2);
  const mixed = RAMP[k].map((from, c) => Math.round(from + (RAMP[k + 1][c] - from) * (place - k)));
  return `rgb(${mixed.join(",")})`;
}

function axis(title, more = {}) {
  return { title: { text: plain(clipped(title, 60)), standoff: 8 }, gridcolor: colour("grid"), linecolor: colour("rule"), zeroline: false, automargin: true, ...more };
}

function draw(id, traces, layout, buttons = []) {
  const base = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest", dragmode: "zoom",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("ink") },
    margin: { l: 56, r: 14, t: 12, b: 44 },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("rule"), font: { color: colour("ink"), size: 12 } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("quiet"), activecolor: colour("accent") },
  };
  const config = { responsive: true, displaylogo: false, displayModeBar: "hover", modeBarButtons: [["toImage", ...buttons, "zoom2d", "pan2d", "resetScale2d"]], toImageButtonOptions: { filename: id, scale: 2 } };
  return Plotly.react($(id), traces, { ...base, ...layout }, config);
}

// Where there is nothing to draw, the reason.
function empty(id, section) {
  const why = D.missing[section];
  if (why) {
    $(id).classList.add("empty");
    $(id).textContent = why;
  }
  return Boolean(why);
}

function thinned(list, most = MOST_DOTS) {
  if (list.length <= most) return list;
  return Array.from({ length: most }, (_, k) => list[Math.floor((k * list.length) / most)]);
}

function options(id, labels, chosen, changed) {
  $(id).replaceChildren(...labels.map((label, k) => Object.assign(element("option", clipped(label, 40)), { value: String(k) })));
  $(id).value = String(chosen);
  $(id).addEventListener("change", changed);
}

const chosenOf = (id) => Number($(id).value);

// What the tip says of a trial.
function tipOf(row, most = 14) {
  const lines = D.metrics.map((name, k) => [name, D.values[k][row]]).filter(([, value]) => value !== null).map(([name, value]) => `${name}: ${number(value)}`);
  const own = D.parameters.map((name, k) => [name, D.config[k][row]]).filter(([, text]) => text !== null).map(([name, text]) => `${name} = ${clipped(reading(text), 34)}`);
  const rest = own.length - most;
  return [`trial ${D.trial[row]}, ${stateOf(row)}${D.compared[row] && !D.feasible[row] ? ", infeasible" : ""}`, ...lines, ...own.slice(0, most), ...(rest > 0 ? [`and ${rest} more`] : [])].map((line) => legible(line.replaceAll("\n", " "))).join("\n");
}
