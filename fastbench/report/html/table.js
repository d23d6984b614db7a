// Which rows are shown, in which order, and the table of them.

// ---- Facets --------------------------------------------------------------------------------

const facets = Object.entries(data.facets).map(([name, texts]) => ({
  name,
  texts,
  title: columns.get(name).title,
  of: (row) => [textOf(columns.get(name), row)],
}));
if (data.advice.length) {
  facets.push({
    name: "advice",
    title: "advice",
    of: (row) => data.rows[row].advice.map((advice) => advice.name),
  });
}

function addFacets() {
  for (const facet of facets) {
    const counts = new Map();
    for (const row of every) {
      for (const text of facet.of(row)) counts.set(text, (counts.get(text) ?? 0) + 1);
    }
    const texts = facet.texts ?? [...counts.keys()];
    const picked = new Set();
    state.picked.set(facet.name, picked);
    facet.summary = make("span", {}, facet.title);
    facet.boxes = texts.map((text) => {
      const box = make("input", { type: "checkbox", value: text });
      box.addEventListener("change", () => {
        if (box.checked) picked.add(text);
        else picked.delete(text);
        update();
      });
      return box;
    });
    facet.menu = make(
      "details",
      { class: "menu facet", name: "menu", "data-facet": facet.name },
      make("summary", {}, facet.summary),
      make(
        "fieldset",
        { class: "choices" },
        make("legend", { class: "hidden" }, `Show rows with this ${facet.title}`),
        ...texts.map((text, i) =>
          make("label", {}, facet.boxes[i], make("span", {}, text), make("span", { class: "n" }, counts.get(text))),
        ),
      ),
    );
    byId("facets").append(facet.menu);
  }
}

function pick(name, texts) {
  const facet = facets.find((each) => each.name === name);
  const picked = state.picked.get(name);
  picked.clear();
  for (const text of texts) picked.add(text);
  for (const box of facet.boxes) box.checked = picked.has(box.value);
}

function addMenus() {
  // Escape and a click elsewhere close a menu. One is open at a time, for all have the same name.
  const menus = [...document.querySelectorAll("details.menu")];
  for (const menu of menus) {
    menu.addEventListener("toggle", () => {
      if (menu.open) keepInside(menu.querySelector(".choices"));
    });
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !menu.open) return;
      menu.open = false;
      menu.querySelector("summary").focus();
    });
  }
  document.addEventListener("pointerdown", (event) => {
    for (const menu of menus) if (!menu.contains(event.target)) menu.open = false;
  });
}

function keepInside(box) {
  box.style.translate = "none";
  const { left, right } = box.getBoundingClientRect();
  const width = document.documentElement.clientWidth;
  const shift = Math.min(0, width - 8 - right) || Math.max(0, 8 - left);
  if (shift) box.style.translate = `${shift}px`;
}

// ---- Which rows, in which order --------------------------------------------------------------

function isWanted(row) {
  return (
    state.words.every((word) => haystacks[row].includes(word)) &&
    facets.every((facet) => {
      const picked = state.picked.get(facet.name);
      return !picked.size || facet.of(row).some((text) => picked.has(text));
    })
  );
}

function update() {
  state.visible = every.filter(isWanted);
  if (state.sort) {
    const column = columns.get(state.sort.name);
    state.visible.sort(compareBy(column, state.sort.ascending));
    // Of figures, those that are not ranked come after the others.
    const known = (row) => valueOf(column, row) !== null;
    const place = (row) => (known(row) ? (column.isLabel || isRanked(row, column) ? 0 : 1) : 2);
    state.visible.sort((a, b) => place(a) - place(b));
  }
  state.most = MOST_ROWS;
  scroller.scrollTop = 0;
  renderRows();
  renderHeads();
  renderChart();
  renderFilters();
}

function renderFilters() {
  let isFiltered = state.words.length > 0;
  for (const facet of facets) {
    const number = state.picked.get(facet.name).size;
    isFiltered ||= number > 0;
    facet.menu.classList.toggle("picked", number > 0);
    facet.summary.textContent = number ? `${facet.title}: ${number} of ${facet.boxes.length}` : facet.title;
  }
  byId("clear").hidden = !isFiltered;
  byId("count").textContent =
    `${state.visible.length.toLocaleString("en")} of ${counted(numRows, "row")}` + sortedBy();
}

const orderOf = (sort) => (sort.ascending ? "ascending" : "descending");

function sortedBy() {
  if (!state.sort) return "";
  return ` · by ${columns.get(state.sort.name).title}, ${orderOf(state.sort)}`;
}

// ---- Table ---------------------------------------------------------------------------------

const table = document.querySelector("table");
const scroller = document.querySelector(".scroll");
const head = table.tHead.rows[0];
const body = table.tBodies[0];
let built = new Map(); // a row's number -> its element, while the columns stay
let details = new Map();

// The columns that the page began with, in that order; then the registry's.
const ordered = [
  ...data.shown.map((name) => columns.get(name)),
  ...data.columns.filter((column) => !data.shown.includes(column.name)),
];
const shownColumns = () => ordered.filter((column) => state.shown.has(column.name));

function classOf(column, position) {
  const classes = [];
  if (position === 0) classes.push("first");
  if (column.align === "right") classes.push("number");
  if (column.kind === "pipeline" || column.name === "verdict") classes.push("wide");
  if (!column.isLabel && column.kind === "number") classes.push("figure");
  return classes.join(" ");
}

function renderHead() {
  head.replaceChildren(
    ...shownColumns().map((column, position) => {
      const button = make("button", { type: "button", title: column.meaning }, column.title);
      button.addEventListener("click", () => sortBy(column));
      return make(
        "th",
        { scope: "col", class: classOf(column, position), "data-column": column.name },
        button,
      );
    }),
    make("th", { scope: "col", class: "plain file" }, "file"),
  );
  built = new Map();
  details = new Map();
}

function renderHeads() {
  for (const cell of head.cells) {
    const isSorted = state.sort && state.sort.name === cell.dataset.column;
    cell.ariaSort = isSorted ? orderOf(state.sort) : null;
  }
}

function sortBy(column) {
  // Better first, then the other way, then as the records came.
  const first = !(column.best === "max" || column.kind === "pipeline");
  if (state.sort?.name !== column.name) state.sort = { name: column.name, ascending: first };
  else if (state.sort.ascending === first) state.sort.ascending = !first;
  else state.sort = null;
  update();
}

function renderRows() {
  const elements = [];
  for (const row of state.visible.slice(0, state.most)) {
    if (!built.has(row)) built.set(row, buildRow(row));
    elements.push(built.get(row));
    if (state.open.has(row)) elements.push(detailOf(row));
  }
  if (!elements.length) {
    elements.push(make("tr", {}, make("td", { colspan: shownColumns().length + 1 }, "No row is left.")));
  }
  body.replaceChildren(...elements);
  markBest();
  const rest = state.visible.length - state.most;
  byId("more").hidden = rest <= 0;
  byId("more").textContent = `Show the other ${counted(rest, "row")}`;
}

function renderMore(most) {
  if (state.most >= Math.min(most, state.visible.length)) return;
  state.most = most;
  renderRows();
}

function buildRow(row) {
  const about = data.rows[row];
  const element = make("tr", { "data-row": row, class: about.status === "INVALID" ? "invalid" : null });
  shownColumns().forEach((column, position) => element.append(buildCell(column, row, position)));
  const save = make("button", { type: "button", class: "save", "aria-label": `Download the record of ${about.title}` }, "JSON");
  element.append(make("td", { class: "file" }, save));
  return element;
}

function buildCell(column, row, position) {
  const cell = make(position ? "td" : "th", { class: classOf(column, position) || null });
  if (!position) {
    cell.scope = "row";
    cell.append(openButton(column, row), flagsOf(row));
  } else if (column.kind === "pipeline") {
    cell.append(pictureOf(row), make("span", { class: "below" }, textOf(column, row)));
  } else {
    cell.append(String(textOf(column, row)));
  }
  if (valueOf(column, row) === null && column.kind !== "pipeline") cell.classList.add("missing");
  for (const part of column.details?.[row]?.split(", ") ?? []) {
    if (part) cell.append(make("span", { class: "below" }, part));
  }
  return cell;
}

function openButton(column, row) {
  const button = make("button", { type: "button", class: "open", "aria-expanded": String(state.open.has(row)) });
  button.append(make("span", {}, String(textOf(column, row))));
  button.setAttribute("aria-label", `${textOf(column, row)}: details of ${data.rows[row].title}`);
  return button;
}

function flagsOf(row) {
  const { status, marks } = data.rows[row];
  const flags = make("span", { class: "flags" });
  if (status !== "ok") flags.append(make("span", { class: "tag" }, status));
  for (const mark of marks) {
    flags.append(make("a", { class: "mark-note", href: `#note-${mark}`, "aria-label": `footnote ${mark}` }, mark));
  }
  return flags;
}

function markBest() {
  for (const element of body.querySelectorAll(".best")) element.classList.remove("best");
  // Of all that the filters leave, whether they are rendered yet or not; and by what people read, as
  // in every other format of a report.
  shownColumns().forEach((column, position) => {
    if (!column.best || !isNumber(column)) return;
    const found = state.visible.filter((row) => isRanked(row, column) && valueOf(column, row) !== null);
    if (new Set(found.map((row) => textOf(column, row))).size < 2) return;
    const sign = column.best === "max" ? 1 : -1;
    const best = found.reduce((a, b) => (sign * (valueOf(column, b) - valueOf(column, a)) > 0 ? b : a));
    for (const row of found) {
      if (textOf(column, row) === textOf(column, best)) built.get(row)?.cells[position].classList.add("best");
    }
  });
}

// Three bars on a scale of the row's own. A ceiling far above is cut off, so that the rest is seen.
function pictureOf(row) {
  const rates = ["loader-ceiling", "model-ceiling", "images/s"].map((name) => columns.get(name)?.values[row] ?? null);
  const [loader, model, together] = rates;
  if (loader === null && model === null) return "";
  const texts = ["loader-ceiling", "model-ceiling", "images/s"].map((name) => columns.get(name) && textOf(columns.get(name), row));
  const lower = Math.min(...[loader, model].filter((rate) => rate !== null));
  const most = Math.min(Math.max(...rates.filter((rate) => rate !== null)), 3 * Math.max(lower, together ?? 0));
  const bars = [];
  ["loader", "model", "together"].forEach((name, i) => {
    if (rates[i] === null) return;
    const width = Math.max(1, (190 * Math.min(rates[i], most)) / most);
    const top = 7 * i;
    bars.push(draw("rect", { class: name, x: 0, y: top, width: width.toFixed(1), height: 5 }));
    if (rates[i] > most) {
      for (const x of [180, 184]) bars.push(draw("path", { class: "cut", d: `M${x} ${top + 5.5}l3 -6` }));
    }
  });
  const said = [
    loader === null ? "" : `loader alone ${texts[0]} images/s`,
    model === null ? "" : `model alone ${texts[1]}`,
    together === null ? "" : `end to end ${texts[2]}`,
  ];
  const label = said.filter(Boolean).join(", ");
  return draw(
    "svg",
    { class: "picture", role: "img", "aria-label": label, viewBox: "0 0 192 19", preserveAspectRatio: "none" },
    draw("title", {}, label),
    ...bars,
  );
}

function detailOf(row) {
  if (!details.has(row)) {
    const about = data.rows[row];
    const list = make("dl");
    const add = (name, text, kind) => list.append(make("dt", {}, name), make("dd", kind ? { class: kind } : {}, text));
    for (const problem of about.problems) add("problem", problem, "bad");
    for (const note of apartOf(row)) add(`unlike ${note.mark}`, note.text, "doubt");
    for (const why of about.unranked) add("not ranked", why, "doubt");
    for (const { about: subject, seen, remedy } of about.advice) {
      if (subject) add("in doubt", `${subject}, not ranked by it: ${seen}. Try: ${remedy}.`, "doubt");
      else add("advice", `${seen}. Try: ${remedy}.`);
    }
    for (const [name, text] of about.facts) add(name, text);
    const cell = make("td", { colspan: shownColumns().length + 1 }, make("div", {}, list));
    details.set(row, make("tr", { class: "detail", "data-detail": row }, cell));
  }
  return details.get(row);
}

function toggle(row, isOpen = !state.open.has(row)) {
  if (isOpen) state.open.add(row);
  else state.open.delete(row);
  const element = built.get(row);
  element.querySelector(".open").setAttribute("aria-expanded", isOpen);
  if (isOpen) element.after(detailOf(row));
  else details.get(row)?.remove();
}

function goTo(row) {
  if (!state.visible.includes(row)) clearFilters();
  renderMore(state.visible.indexOf(row) + 1);
  toggle(row, true);
  const element = built.get(row);
  element.scrollIntoView({ block: "center" });
  element.querySelector(".open").focus({ preventScroll: true });
}

function addTable() {
  const key = (kind, text) => make("span", { class: `key ${kind}` }, text);
  table.caption.append(
    make(
      "span",
      {},
      make("span", {}, "A row a record; bold is the best of the ranked rows shown."),
      make("span", {}, key("loader", "loader alone")),
      make("span", {}, key("model", "model alone")),
      make("span", {}, key("together", "end to end")),
    ),
  );
  body.addEventListener("click", (event) => {
    const row = Number(event.target.closest("tr")?.dataset.row);
    if (event.target.closest(".open")) toggle(row);
    else if (event.target.closest(".save")) saveOne(row);
  });
  byId("more").addEventListener("click", () => renderMore(numRows));
  scroller.addEventListener("scroll", () => {
    const left = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
    if (left < 2 * scroller.clientHeight) renderMore(state.most + MOST_ROWS);
  });
  addEventListener("beforeprint", () => renderMore(numRows));
  byId("footnotes").append(
    ...data.footnotes.map(({ mark, text }) => make("p", { id: `note-${mark}` }, make("strong", {}, `${mark} `), text)),
    ...data.remarks.map((remark) => make("p", {}, remark)),
  );
}

function addChooser() {
  const boxOf = (column) => {
    const box = make("input", { type: "checkbox", value: column.name });
    box.checked = state.shown.has(column.name);
    box.addEventListener("change", () => {
      if (box.checked) state.shown.add(column.name);
      else state.shown.delete(column.name);
      if (!state.shown.size) box.checked = Boolean(state.shown.add(column.name));
      renderHead();
      update();
    });
    return make("label", { title: column.meaning }, box, make("span", {}, column.title));
  };
  for (const [topic, its] of Map.groupBy(data.columns, (column) => column.topic)) {
    const boxes = make("fieldset", {}, make("legend", {}, topic), ...its.map(boxOf));
    document.querySelector("#chooser .choices").append(boxes);
  }
}

