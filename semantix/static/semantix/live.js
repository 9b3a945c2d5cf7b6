// Follows /memory-logs/events; the browser resumes by itself after a break, with Last-Event-ID.
const table = document.getElementById("live-updates");
const rows = table.querySelector("tbody");
const state = document.getElementById("live-state");
const nothing = document.getElementById("live-nothing");
const filters = document.getElementById("live-filters");
const pause = document.getElementById("live-pause");
const MOST_ROWS = 200;
const TYPES = ["vector.stored", "vector.deleted", "memory_log.expired"];

let source = null;
let lastId = "";
// The updates that arrived during a pause, oldest first; null while nothing is paused.
let held = null;

function follow() {
  if (source) source.close();
  const query = new URLSearchParams();
  const { user_id: user, project_id: project } = filters.elements;
  if (project.value.trim() && !user.value.trim()) {
    state.textContent = "Give the user id as well: projects of two users may have the same name.";
    return;
  }
  for (const field of [user, project]) if (field.value.trim()) query.set(field.name, field.value.trim());
  if (lastId) query.set("last_event_id", lastId);
  state.textContent = "Connecting …";
  source = new EventSource(`${table.dataset.source}?${query}`);
  source.onopen = () => { state.textContent = "Connected."; };
  source.onerror = () => {
    state.textContent = source.readyState === EventSource.CLOSED
      ? "The server refused the connection. Log in again, or reload this page."
      : "The connection broke; trying again …";
  };
  source.addEventListener("stream.reset", (message) => {
    lastId = message.lastEventId;
    note(JSON.parse(message.data).reason);
  });
  for (const type of TYPES) source.addEventListener(type, receive);
}

function receive(message) {
  lastId = message.lastEventId;
  const update = JSON.parse(message.data);
  const wanted = filters.elements.type.value;
  if (wanted && update.type !== wanted) return;
  if (held === null) {
    show(update);
  } else {
    held.push(update);
    if (held.length > MOST_ROWS) held.shift();
    pause.textContent = `Go on (${held.length}${held.length === MOST_ROWS ? " or more" : ""} new)`;
  }
}

function show(update) {
  nothing.hidden = true;
  const row = rows.insertRow(0);
  const at = new Date(update.at).toISOString().replace("T", " ").replace(/\.\d+Z$/, "Z");
  for (const value of [at, update.type, "", update.user_id, update.project_id]) {
    const cell = row.insertCell();
    cell.textContent = value;
    cell.className = "p-2";
  }
  row.cells[2].append(update.type === "vector.stored" ? link(update.memory_id) : update.memory_id ?? update.memory_log_id);
  trim();
}

function link(id) {
  const anchor = document.createElement("a");
  anchor.href = table.dataset.memory.replace("0", id);
  anchor.textContent = id;
  anchor.style.textDecoration = "underline";
  return anchor;
}

function note(text) {
  const cell = rows.insertRow(0).insertCell();
  cell.colSpan = 5;
  cell.className = "p-2";
  cell.textContent = text;
  trim();
}

function trim() {
  while (rows.rows.length > MOST_ROWS) rows.deleteRow(-1);
}

pause.addEventListener("click", () => {
  if (held === null) {
    held = [];
    pause.textContent = "Go on";
  } else {
    held.forEach(show);
    held = null;
    pause.textContent = "Pause";
  }
});

// What is shown stays true to the filters: they begin with an empty list.
filters.addEventListener("submit", (event) => {
  event.preventDefault();
  rows.replaceChildren();
  if (held !== null) held = [];
  nothing.hidden = false;
  follow();
});

follow();
