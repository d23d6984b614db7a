// The scatter chart: two columns against each other, the Pareto front, and what the marks mean.

const NUM_GROUPS = 8;

const SHAPES = [
  (r) => `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
  (r) => `M${-r} ${-r}h${2 * r}v${2 * r}h${-2 * r}z`,
  (r) => `M0 ${-1.25 * r}L${1.2 * r} ${0.9 * r}H${-1.2 * r}z`,
  (r) => `M0 ${-1.35 * r}L${1.35 * r} 0L0 ${1.35 * r}L${-1.35 * r} 0z`,
  (r) => `M0 ${1.25 * r}L${1.2 * r} ${-0.9 * r}H${-1.2 * r}z`,
  (r) => `M${-1.3 * r} ${-0.4 * r}h${0.9 * r}v${-0.9 * r}h${0.8 * r}v${0.9 * r}h${0.9 * r}v${0.8 * r}h${-0.9 * r}v${0.9 * r}h${-0.8 * r}v${-0.9 * r}h${-0.9 * r}z`,
  (r) => `M${-0.6 * r} ${-1.2 * r}h${1.2 * r}v${2.4 * r}h${-1.2 * r}z`,
  (r) => `M${-1.3 * r} ${-0.55 * r}h${2.6 * r}v${1.1 * r}h${-2.6 * r}z`,
];

const numeric = data.columns.filter((column) => isNumber(column) && new Set(column.values).size > 1);

function addChart() {
  if (numeric.length < 2) {
    byId("chart-title").closest("section").hidden = true;
    return;
  }
  const named = (...names) => names.map((name) => numeric.find((column) => column.name === name)).find(Boolean);
  axes.x = named("images/s") ?? numeric[0];
  axes.y = [named("top-1", "of-ceiling", "batch-latency"), ...numeric].find((column) => column && column !== axes.x);
  axes.logX = spansDecade(axes.x);
  const groups = facets.filter((facet) => facet.boxes.length <= NUM_GROUPS && facet.name !== "advice");
  axes.group = ["loader", "device", "model", "dtype"].map((name) => groups.find((facet) => facet.name === name)).find(Boolean) ?? groups[0] ?? null;
  addChoice("axis-x", "x", numeric);
  addChoice("axis-y", "y", numeric);
  addChoice("group", "group", [{ name: "", title: "nothing" }, ...groups]);
  byId("log-x").checked = axes.logX;
  byId("log-x").addEventListener("change", (event) => {
    axes.logX = event.target.checked;
    renderChart();
  });
  listen();
  let width = 0;
  new ResizeObserver(() => {
    if (chart.clientWidth !== width) renderChart();
    width = chart.clientWidth;
  }).observe(chart);
}

// A list to choose an axis from, or the groups.
function addChoice(id, axis, choices) {
  byId(id).append(...choices.map((each) => make("option", { value: each.name, selected: each === axes[axis] }, each.title)));
  byId(id).addEventListener("change", (event) => {
    axes[axis] = choices.find((each) => each.name && each.name === event.target.value) ?? null;
    if (axis === "x") axes.logX = spansDecade(axes.x);
    byId("log-x").checked = axes.logX;
    renderChart();
  });
}

function groupOf(row) {
  if (!axes.group) return 0;
  const text = axes.group.of(row)[0];
  return axes.group.boxes.findIndex((box) => box.value === text);
}

// The ranked rows that no other one is better than on both axes, in order across.
function frontOf(rows) {
  const { x, y } = axes;
  if (!x.best || !y.best) return [];
  const gain = (column, row) => (column.best === "max" ? 1 : -1) * valueOf(column, row);
  const order = rows
    .filter((row) => isRanked(row, x, y))
    .sort((a, b) => gain(x, b) - gain(x, a) || gain(y, b) - gain(y, a));
  const front = [];
  for (const row of order) {
    if (!front.length || gain(y, row) > gain(y, front.at(-1))) front.push(row);
  }
  return front.reverse();
}

function renderChart() {
  if (!axes.x) return;
  const width = chart.clientWidth;
  if (!width) return;
  const hadFocus = chart.contains(document.activeElement) ? active : null;
  hideTip();
  const { x, y } = axes;
  let rows = state.visible.filter((row) => valueOf(x, row) !== null && valueOf(y, row) !== null);
  if (axes.logX) rows = rows.filter((row) => valueOf(x, row) > 0);
  const height = Math.round(Math.min(420, Math.max(280, width * 0.42)));
  const area = { left: 52, right: width - 16, top: 12, bottom: height - 44 };
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "group", "aria-label": `Scatter chart of ${y.title} against ${x.title}: ${counted(rows.length, "record")}. Arrow keys move between the points, Enter goes to the row.` });
  let front = [];
  if (!rows.length) {
    points = [];
    svg.append(draw("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "No row has a value for both axes."));
  } else {
    const across = scaleOf(x, rows, axes.logX, [area.left + 8, area.right - 8]);
    const up = scaleOf(y, rows, false, [area.bottom, area.top]);
    drawAxes(svg, area, across, up, height);
    front = frontOf(rows);
    if (front.length) drawFront(svg, front, across, up);
    points = rows
      .map((row) => ({ row, x: across.at(valueOf(x, row)), y: up.at(valueOf(y, row)) }))
      .sort((a, b) => a.x - b.x || b.y - a.y);
    if (rows.length <= MOST_WHISKERS) for (const point of points) drawWhiskers(svg, point, across, up, area);
    drawPoints(svg, new Set(front));
    drawNames(svg, front, area);
  }
  chart.replaceChildren(svg, tip);
  renderLegend(rows, front);
  if (hadFocus !== null) points.find((point) => point.row === hadFocus)?.element.focus();
}

function drawFront(svg, front, across, up) {
  const at = front.map((row) => [across.at(valueOf(axes.x, row)), up.at(valueOf(axes.y, row))]);
  let path = `M${at[0][0]} ${at[0][1]}`;
  for (let i = 1; i < at.length; i += 1) path += `V${at[i][1]}H${at[i][0]}`;
  // What lies on the worse side of the steps is dominated.
  svg.append(draw("path", { class: "front", d: path }));
}

function drawWhiskers(svg, point, across, up, area) {
  const group = draw("g", { class: `group-${groupOf(point.row) % NUM_GROUPS}` });
  const inside = (value, low, high) => Math.min(high, Math.max(low, value));
  const ofX = axes.x.bounds?.[point.row];
  const ofY = axes.y.bounds?.[point.row];
  if (ofX && (!axes.logX || ofX[0] > 0)) {
    const [x1, x2] = ofX.map((value) => inside(across.at(value), area.left, area.right));
    group.append(draw("line", { class: "whisker", x1, x2, y1: point.y, y2: point.y }));
  }
  if (ofY) {
    const [y1, y2] = ofY.map((value) => inside(up.at(value), area.top, area.bottom));
    group.append(draw("line", { class: "whisker", x1: point.x, x2: point.x, y1, y2 }));
  }
  svg.append(group);
}

function drawPoints(svg, front) {
  if (!points.some((point) => point.row === active)) active = points[0].row;
  for (const point of points) {
    const group = groupOf(point.row);
    const radius = front.has(point.row) ? 5.5 : 4.5;
    point.element = draw(
      "g",
      {
        class: `point group-${group % NUM_GROUPS}${isRanked(point.row, axes.x, axes.y) ? "" : " unranked"}`,
        transform: `translate(${point.x.toFixed(1)} ${point.y.toFixed(1)})`,
        role: "button",
        tabindex: point.row === active ? 0 : -1,
        "data-row": point.row,
        "aria-label": labelOf(point.row, front),
      },
      draw("circle", { class: "ring", r: 10 }),
      draw("path", { class: "mark", d: SHAPES[group % NUM_GROUPS](radius) }),
    );
    svg.append(point.element);
  }
}

function labelOf(row, front) {
  const { title, status } = data.rows[row];
  const parts = [title, ...[axes.x, axes.y].map((column) => `${column.title} ${textOf(column, row)}`)];
  if (status !== "ok") parts.push(status);
  else if (!isRanked(row, axes.x, axes.y)) parts.push("not ranked");
  if (front.has(row)) parts.push("on the Pareto front");
  return parts.join(", ");
}

// Names of the front's points, where they hide neither a point nor another name.
function drawNames(svg, front, area) {
  const isTold = (name) => axes.group?.name === name;
  const [who] = ["model", "loader", "device"].filter((name) => data.makes[name] && !isTold(name));
  const how = ["dtype", "engine", "quantize", "image-size"].filter((name) => data.makes[name] && !isTold(name));
  const nameOf = (row) => [who, ...how].map((name) => data.makes[name]?.[row]).filter(Boolean).join(" ");
  const taken = points.map(({ x, y }) => [x - 6, y - 6, x + 6, y + 6]);
  for (const row of front) {
    const { x, y } = points.find((point) => point.row === row);
    const text = nameOf(row) || (axes.group?.of(row)[0] ?? "");
    const width = 6.6 * text.length;
    const places = [[x + 10, y - 7], [x + 10, y + 15], [x - 10 - width, y - 7], [x - 10 - width, y + 15], [x - width / 2, y - 12]];
    const box = ([left, base]) => [left, base - 11, left + width, base + 3];
    const free = places.find((each) => {
      const [l, t, r, b] = box(each);
      const isInside = l > area.left + 2 && r < area.right + 4 && t > area.top - 12 && b < area.bottom;
      return isInside && taken.every(([l2, t2, r2, b2]) => r < l2 || l > r2 || b < t2 || t > b2);
    });
    if (!free) continue;
    taken.push(box(free));
    svg.append(draw("text", { class: "name", x: free[0], y: free[1], "aria-hidden": "true" }, text));
  }
}

function renderLegend(rows, front) {
  const numHollow = rows.filter((row) => !isRanked(row, axes.x, axes.y)).length;
  byId("chart-caption").textContent =
    (front.length > 1 ? "Dashed: the Pareto front, the ranked rows that none is better than on both axes. " : "") +
    (rows.length <= MOST_WHISKERS && (axes.x.bounds || axes.y.bounds) ? "Thin lines: 95 % interval, or the windows' range. " : "") +
    (numHollow ? `Hollow: not ranked (${counted(numHollow, "row")}). ` : "") +
    (rows.length < state.visible.length ? `${counted(state.visible.length - rows.length, "row")} without a value for both axes. ` : "");
  const here = axes.group ? [...new Set(rows.map(groupOf))].sort() : [];
  byId("legend").replaceChildren(...here.map(legendOf));
}

function legendOf(group) {
  const mark = draw("path", { class: "mark", d: SHAPES[group](4.2) });
  const picture = draw("svg", { width: 12, height: 12, viewBox: "-6 -6 12 12", "aria-hidden": "true" }, mark);
  return make("li", { class: `group-${group}` }, picture, make("span", {}, axes.group.boxes[group].value));
}

