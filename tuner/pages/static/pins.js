"use strict";
// Pinned trials side by side, and one of them as text to copy: exactly what a command would have got.

function startPins() {
  S.pinned = [...new Set([D.baseline, D.chosen])].filter((row) => row !== null);
  S.active = D.chosen ?? S.pinned[0] ?? null;
  document.querySelectorAll("input[name=form]").forEach((input) => input.addEventListener("change", showForm));
  $("copy").addEventListener("click", () => copy($("form-text").textContent, $("copied")));
  views.push({ draw: drawPins, mark: drawPins });
}

const given = (row) => D.parameters.map((name, k) => [name, D.config[k][row]]).filter(([, text]) => text !== null);

// As Python's shlex.quote.
const quoted = (text) => (text === "" || /[^\w@%+=:,./-]/.test(text) ? `'${text.replaceAll("'", `'"'"'`)}'` : text);

// `${args}` of a command: `--name=value`; booleans and null as Python prints them, as W&B does.
function asFlags(row) {
  const python = { true: "True", false: "False", null: "None" };
  return given(row).map(([name, text]) => quoted(`--${name}=${text.startsWith('"') ? JSON.parse(text) : python[text] ?? text}`)).join(" ");
}

// JSON is YAML; a name is left bare where YAML reads it as a string.
function asYaml(row) {
  const bare = (name) => /^[A-Za-z_]\w*$/.test(name) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(name);
  return given(row).map(([name, text]) => `${bare(name) ? name : JSON.stringify(name)}: ${text}`).join("\n");
}

// The variables that every command gets.
function asEnvironment(row) {
  return given(row).map(([name, text]) => `TUNER_PARAM_${name.replace(/[^A-Za-z0-9_]/gu, "_").toUpperCase()}=${quoted(text.startsWith('"') ? JSON.parse(text) : text)}`).join("\n");
}

function showForm() {
  const form = document.querySelector("input[name=form]:checked").value;
  const write = { flags: asFlags, yaml: asYaml, env: asEnvironment }[form];
  $("form-text").textContent = S.active === null ? "" : write(S.active);
  $("copied").textContent = "";
}

async function copy(text, said) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  said.textContent = "Copied";
  setTimeout(() => { said.textContent = ""; }, 2500);
}

function drawPins() {
  showForm();
  if (!S.pinned.length) {
    $("pinned").replaceChildren(element("p", "Click a trial, or focus it and press Enter, to pin it here.", "quiet"));
    return;
  }
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  head.append(element("th", ""));
  S.pinned.forEach((row, k) => head.append(pinHead(row, k)));
  const body = table.createTBody();
  const metrics = D.metrics.map((name, k) => [name, (row) => number(D.values[k][row])]);
  const parameters = D.parameters.map((name, k) => [name, (row) => (D.config[k][row] === null ? "–" : reading(D.config[k][row]))]);
  for (const [name, text] of [...metrics, ...parameters]) {
    const texts = S.pinned.map(text);
    if (!texts.some((one) => one !== "" && one !== "–")) continue;
    const line = body.insertRow();
    line.append(Object.assign(element("th", clipped(name)), { title: name, scope: "row" }));
    const differs = new Set(texts).size > 1;
    texts.forEach((one) => line.append(Object.assign(element("td", one, ...(differs ? ["differs"] : [])), { title: one })));
  }
  $("pinned").replaceChildren(table);
}

function pinHead(row, k) {
  const role = row === D.baseline ? " baseline" : row === D.chosen ? ` ${D.role}` : "";
  const head = element("th", null, ...(row === S.active ? ["active"] : []));
  const name = Object.assign(element("button", `● ${D.trial[row]}${role}`, "head"), { type: "button" });
  name.style.color = PINS[k];
  name.setAttribute("aria-pressed", String(row === S.active));
  name.addEventListener("click", () => { S.active = row; mark(); });
  const away = Object.assign(element("button", "✕", "away"), { type: "button", title: "Let go" });
  away.setAttribute("aria-label", `Unpin trial ${D.trial[row]}`);
  away.addEventListener("click", () => { S.active = row; pin(row); });
  head.append(name, away);
  return head;
}
