"use strict";
// All trials: only the rows in sight are in the document, so that ten thousand scroll as ten do.

const ROW_PX = 29;
const PRINTED = 60;
const table = { order: [], sort: null, down: false, printing: false };

function startTable() {
  table.columns = D.columns.filter((column) => column.name === "trial" || [...rows()].some((row) => column.text(row) !== ""));
  const head = $("rows").querySelector("thead").insertRow();
  table.columns.forEach((column) => {
    const cell = element("th", null, ...(column.numeric ? ["number"] : []));
    cell.scope = "col";
    const button = Object.assign(element("button", clipped(column.name, 26)), { type: "button", title: column.name });
    button.addEventListener("click", () => sortBy(column, cell));
    cell.append(button);
    head.append(cell);
  });
  $("rows").addEventListener("scroll", () => requestAnimationFrame(fillTable));
  $("rows").addEventListener("click", (event) => { const row = rowOf(event.target); if (row >= 0) pin(row); });
  $("rows").addEventListener("keydown", keyTable);
  $("query").addEventListener("input", later(readQuery));
  $("csv").addEventListener("click", () => copy(asCsv(), $("csv-said")));
  views.push({ draw: markTable, mark: markTable });
}

function readQuery() {
  const text = $("query").value.trim();
  try {
    S.query = parseQuery(text);
    S.queryText = text;
    $("query-error").hidden = true;
  } catch (error) {
    $("query-error").textContent = error.message;
    $("query-error").hidden = false;
    return;
  }
  refilter();
}

function sortBy(column, cell) {
  table.down = table.sort === column ? !table.down : false;
  table.sort = column;
  $("rows").querySelectorAll("th").forEach((one) => one.removeAttribute("aria-sort"));
  cell.setAttribute("aria-sort", table.down ? "descending" : "ascending");
  markTable();
}

function compare(a, b) {
  const [u, v] = [table.sort.value(a), table.sort.value(b)];
  if (u === null || v === null) return (u === null) - (v === null); // the empty ones last, either way
  const order = typeof u === "number" && typeof v === "number" ? u - v : String(u).localeCompare(String(v));
  return table.down ? -order : order;
}

function markTable() {
  table.order = [...rows()].filter((row) => S.visible[row]);
  if (table.sort) table.order.sort(compare);
  fillTable();
}

function fillTable() {
  const box = $("rows");
  const first = table.printing ? 0 : Math.max(Math.min(Math.floor(box.scrollTop / ROW_PX) - 5, table.order.length - 1), 0);
  const room = table.printing ? PRINTED : Math.ceil(box.clientHeight / ROW_PX) + 10;
  const shown = table.order.slice(first, first + room);
  const rest = table.printing ? 0 : table.order.length - first - shown.length;
  const focused = box.contains(document.activeElement) ? document.activeElement.dataset.row : undefined;
  const body = box.querySelector("tbody");
  body.replaceChildren(space(first), ...shown.map(tableRow), space(rest));
  if (table.printing && table.order.length > PRINTED) body.append(note(`and ${table.order.length - PRINTED} more`));
  if (focused !== undefined) body.querySelector(`[data-row="${focused}"]`)?.focus({ preventScroll: true });
}

function space(count) {
  const row = element("tr", null, "space");
  const cell = row.insertCell();
  cell.colSpan = table.columns.length;
  cell.style.height = `${count * ROW_PX}px`;
  return row;
}

function note(text) {
  const row = document.createElement("tr");
  const cell = row.insertCell();
  cell.colSpan = table.columns.length;
  cell.textContent = text;
  return row;
}

function tableRow(row) {
  const made = document.createElement("tr");
  made.dataset.row = row;
  made.tabIndex = -1; // one stop for the Tab key: from the table, the arrow keys go to its rows
  made.className = `${D.members.has(row) ? "front" : ""} ${S.pinned.includes(row) ? "pinned" : ""}`.trim();
  for (const column of table.columns) {
    const text = column.text(row);
    const cell = made.insertCell();
    cell.textContent = text;
    if (column.numeric) cell.className = "number";
    if (text.length > 24) cell.title = text;
  }
  return made;
}

function rowOf(target) {
  const found = target.closest("tr[data-row]");
  return found ? Number(found.dataset.row) : -1;
}

function keyTable(event) {
  const row = rowOf(event.target);
  if (row < 0) {
    if (event.key !== "ArrowDown" || event.target !== $("rows")) return;
    event.preventDefault();
    $("rows").querySelector("tr[data-row]")?.focus({ preventScroll: true });
    return;
  }
  const next = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (event.key === "Enter" || event.key === " ") pin(row);
  else if (next) {
    const wanted = table.order[table.order.indexOf(row) + next];
    if (wanted === undefined) return;
    const box = $("rows");
    const top = table.order.indexOf(wanted) * ROW_PX;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + 3 * ROW_PX > box.scrollTop + box.clientHeight) box.scrollTop = top + 3 * ROW_PX - box.clientHeight;
    fillTable();
    box.querySelector(`[data-row="${wanted}"]`)?.focus({ preventScroll: true });
  } else return;
  event.preventDefault();
}

// The rows that are shown, whole values. A cell that a spreadsheet would run as a formula is kept from it.
function asCsv() {
  const safe = (text) => (/^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text);
  const cell = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const whole = (column, row) => { const value = column.value(row); return cell(safe(value === null ? "" : String(value))); };
  return [table.columns.map((column) => cell(safe(column.name))).join(","), ...table.order.map((row) => table.columns.map((column) => whole(column, row)).join(","))].join("\n");
}
