// What a pointer or a key does at the chart's points: the record at a point, the way to its row.

const chart = byId("chart");
const tip = make("div", { id: "tip", "aria-hidden": "true", hidden: true });
let points = []; // of the chart as drawn: {row, x, y, element}, in order of x
let active = null;
let tapped = null; // the row that a finger's last tap showed

function listen() {
  chart.addEventListener("focusin", (event) => {
    const row = event.target.closest?.(".point")?.dataset.row;
    if (row !== undefined) showTip(Number(row));
  });
  chart.addEventListener("focusout", hideTip);
  chart.addEventListener("pointermove", (event) => {
    const point = nearest(event);
    if (point) showTip(point.row);
    else if (!chart.contains(document.activeElement)) hideTip();
  });
  chart.addEventListener("pointerleave", () => {
    if (!chart.contains(document.activeElement)) hideTip();
  });
  chart.addEventListener("click", (event) => {
    const point = nearest(event);
    // A finger has no hover: its first tap shows the record, the second goes to it. In between it
    // was lifted, which is told as a pointer that leaves.
    const isShown = event.pointerType !== "touch" || point?.row === tapped;
    tapped = isShown ? null : (point?.row ?? null);
    if (!point) return;
    showTip(point.row);
    if (isShown) goTo(point.row);
  });
  chart.addEventListener("keydown", onKey);
}

function nearest(event) {
  const box = chart.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  let best = null;
  let least = 20 ** 2;
  for (const point of points) {
    const distance = (point.x - x) ** 2 + (point.y - y) ** 2;
    if (distance < least) [best, least] = [point, distance];
  }
  return best;
}

function onKey(event) {
  const row = event.target.closest?.(".point")?.dataset.row;
  if (row === undefined) return;
  const place = points.findIndex((point) => point.row === Number(row));
  const byY = points.toSorted((a, b) => a.y - b.y);
  const placeY = byY.indexOf(points[place]);
  const next = {
    ArrowRight: () => points[place + 1],
    ArrowLeft: () => points[place - 1],
    ArrowDown: () => byY[placeY + 1],
    ArrowUp: () => byY[placeY - 1],
    Home: () => points[0],
    End: () => points.at(-1),
  }[event.key];
  if (next) next()?.element.focus();
  else if (event.key === "Enter" || event.key === " ") goTo(Number(row));
  else if (event.key === "Escape") hideTip();
  else return;
  event.preventDefault();
}

function showTip(row) {
  const point = points.find((each) => each.row === row);
  if (!point) return;
  setActive(row);
  const about = data.rows[row];
  const list = make("dl");
  const names = [axes.x.name, axes.y.name, "images/s", "top-1", "batch-latency"];
  for (const column of new Set(names.map((name) => columns.get(name)).filter(Boolean))) {
    const detail = column.details?.[row] ? ` (${column.details[row]})` : "";
    list.append(make("dt", {}, column.title), make("dd", {}, `${textOf(column, row)}${detail}`));
  }
  const flags = about.problems.map((problem) => make("div", { class: "bad" }, problem));
  tip.replaceChildren(
    make("strong", {}, about.title),
    list,
    textOf(columns.get("pipeline"), row),
    ...flags,
    ...about.unranked.map((why) => make("div", { class: "doubt" }, why)),
    ...apartOf(row).map((note) => make("div", { class: "doubt" }, `${note.mark}: ${note.text}`)),
    ...doubtsOf(row).map((doubt) => make("div", { class: "doubt" }, `${doubt.about} in doubt: ${doubt.seen}`)),
  );
  tip.hidden = false;
  placeTip(point);
}

// Beside the point where there is room, else below it.
function placeTip({ x, y }) {
  const room = chart.clientWidth - tip.offsetWidth;
  const left = [x + 14, x - 14 - tip.offsetWidth].find((each) => each >= 0 && each <= room);
  tip.style.left = `${left ?? Math.min(Math.max(0, x - tip.offsetWidth / 2), Math.max(0, room))}px`;
  tip.style.top = `${left === undefined ? y + 14 : Math.max(0, y - tip.offsetHeight / 2)}px`;
}

function setActive(row) {
  for (const point of points) {
    point.element.classList.toggle("active", point.row === row);
    point.element.setAttribute("tabindex", point.row === row ? 0 : -1);
  }
  built.get(active)?.classList.remove("active");
  built.get(row)?.classList.add("active");
  active = row;
}

function hideTip() {
  tip.hidden = true;
  for (const point of points) point.element?.classList.remove("active");
  built.get(active)?.classList.remove("active");
}

