// Draws the charts of the overview, and replaces its content every ten seconds until somebody pauses it.
const SECONDS = 10;
const KEY = "semantix-overview-paused";

function options(logarithmic, lines) {
  const grey = "#9ca3af";
  const grid = { color: "rgba(128, 128, 128, 0.25)" };
  const linear = { type: "linear", suggestedMin: 0, suggestedMax: 1 };
  // A power of ten at each step, and nothing between them.
  const log = {
    type: "logarithmic",
    suggestedMax: 10,
    ticks: { color: grey, callback: (value) => (Math.log10(value) % 1 === 0 ? value.toLocaleString() : null) },
  };
  return {
    animation: false,
    responsive: true,
    maintainAspectRatio: false,
    interaction: { mode: "index", intersect: false },
    elements: { line: { borderWidth: 2 } },
    plugins: { legend: { display: lines > 1, position: "bottom", labels: { color: grey, boxWidth: 10, boxHeight: 2 } } },
    scales: {
      x: { grid, ticks: { color: grey, maxTicksLimit: 6, maxRotation: 0 } },
      y: logarithmic ? { grid, ...log } : { grid, ticks: { color: grey, maxTicksLimit: 5 }, ...linear },
    },
  };
}

function draw() {
  for (const canvas of document.querySelectorAll(".overview-chart")) {
    const data = JSON.parse(canvas.dataset.value);
    // A logarithmic axis has no zero.
    if (data.logarithmic) {
      for (const line of data.datasets) line.data = line.data.map((value) => (value === 0 ? null : value));
    }
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", data.datasets.map((line) => line.label).join(", "));
    new Chart(canvas, { type: "line", data, options: options(data.logarithmic, data.datasets.length) });
  }
}

const content = document.getElementById("overview");
const state = document.getElementById("overview-state");
const button = document.getElementById("overview-pause");
let paused = localStorage.getItem(KEY) === "yes";

function tell() {
  button.textContent = paused ? "Resume" : "Pause";
  state.textContent = paused ? "This page is paused." : `This page refreshes by itself every ${SECONDS} seconds.`;
}

async function refresh() {
  const answer = await fetch(location.href, { credentials: "same-origin" });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("overview");
  if (!answer.ok || !fresh) throw new Error(answer.redirected ? "you are signed out" : `status ${answer.status}`);
  if (paused) return;
  for (const canvas of document.querySelectorAll(".overview-chart")) Chart.getChart(canvas)?.destroy();
  content.replaceChildren(...fresh.childNodes);
  draw();
  tell();
}

async function turn() {
  // A page that nobody sees, and one in which somebody selects text, stay as they are.
  if (!paused && !document.hidden && String(getSelection()) === "") {
    try {
      await refresh();
    } catch (error) {
      state.textContent = `The service does not answer (${error.message}). What stands here is old. It is tried again.`;
    }
  }
  setTimeout(turn, SECONDS * 1000);
}

if (content) {
  button.addEventListener("click", () => {
    paused = !paused;
    localStorage.setItem(KEY, paused ? "yes" : "no");
    tell();
    if (!paused) refresh().catch(() => {});
  });
  tell();
  draw();
  setTimeout(turn, SECONDS * 1000);
}
