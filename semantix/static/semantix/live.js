// Follows /memory-logs/events; the browser resumes by itself after a break, with Last-Event-ID.
const table = document.getElementById("live-updates");
const rows = table.querySelector("tbody");
const state = document.getElementById("live-state");
const nothing = document.getElementById("live-nothing");
const MOST_ROWS = 200;

const source = new EventSource(table.dataset.source);
source.onopen = () => { state.textContent = "Connected."; };
source.onerror = () => { state.textContent = "The connection broke; trying again …"; };

for (const type of ["vector.stored", "vector.deleted"]) {
  source.addEventListener(type, (message) => {
    const update = JSON.parse(message.data);
    nothing.hidden = true;
    const row = rows.insertRow(0);
    const when = new Date(update.at).toLocaleTimeString();
    for (const value of [when, update.type, update.memory_id, update.user_id, update.project_id]) {
      const cell = row.insertCell();
      cell.textContent = value;
      cell.className = "p-2";
    }
    while (rows.rows.length > MOST_ROWS) rows.deleteRow(-1);
  });
}
