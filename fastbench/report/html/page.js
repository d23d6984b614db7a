// Downloads, and what stands around table and chart; at the end the page is put together.

// ---- Downloads -----------------------------------------------------------------------------

let packed = null; // a line of gzip in base64 a record, cut up at the first download

async function contentOf(row) {
  packed ??= byId("records").textContent.split("\n");
  const bytes = Uint8Array.from(atob(packed[row]), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).blob();
}

function save(parts, name) {
  const url = URL.createObjectURL(new Blob(parts, { type: "application/json" }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

async function saveOne(row) {
  save([await contentOf(row)], data.rows[row].file);
}

async function saveAll() {
  const parts = ["[\n"];
  // Rows under load come last; they are in no table of the script.
  for (const row of byId("records").textContent.split("\n").keys()) parts.push(row ? ",\n" : "", await contentOf(row));
  save([...parts, "]\n"], "fastbench-records.json");
}

// ---- The rest of the page ------------------------------------------------------------------

function addConditions() {
  const names = (name) => [...new Set((columns.get(name)?.values ?? []).filter((value) => value !== null))];
  const devices = names("device");
  const days = names("date").map((date) => date.slice(0, 10)).sort();
  const numUnderLoad = byId("records").textContent.split("\n").length - numRows;
  byId("about").textContent = [
    counted(numRows, "record"),
    ...(numUnderLoad ? [`${numUnderLoad} under load`] : []),
    ...["model", "loader", "device"].map((name) => counted(names(name).length, name)),
    days[0] === days.at(-1) ? days[0] : `${days[0]} to ${days.at(-1)}`,
  ].join(" · ");
  const conditions = byId("conditions");
  conditions.append(...data.common.map((line) => make("p", {}, line)));
  if (devices.length > 1) conditions.append(make("p", {}, `Devices: ${devices.join(", ")}`));
  const flags = make("ul");
  for (const status of ["INVALID", "FAIL", "different"]) {
    const rows = every.filter((row) => data.rows[row].status === status);
    if (rows.length) {
      const tag = make("span", { class: "tag" }, status);
      flags.append(make("li", { class: "wrong" }, tag, ` ${counted(rows.length, "row")}: ${WHY[status]}`));
    }
  }
  const addFlag = (name, rows, isDoubt, say) => {
    if (!rows.length) return;
    const marks = data.footnotes.filter((note) => note.is_doubt === isDoubt).map((note) => note.mark);
    const where = make("a", { href: "#footnotes" }, `footnotes ${marks.join(", ")}`);
    flags.append(make("li", {}, make("strong", { class: "doubt" }, name), ` ${counted(rows.length, "row")}: the `, where, ` say ${say}.`));
  };
  addFlag("unlike", every.filter((row) => apartOf(row).length), false, "how the conditions differ");
  addFlag("in doubt", every.filter((row) => doubtsOf(row).length), true, "which figures are not ranked, and why");
  if (flags.children.length) conditions.append(flags);
}

const WHY = {
  INVALID: "the numbers contradict each other, and are no measurement.",
  FAIL: "a gate of parity or accuracy was not passed; not ranked.",
  different: "the images are not the reference's; not ranked.",
};

function addAdvice() {
  const list = document.querySelector("#advice ol");
  byId("advice").hidden = !data.advice.length;
  for (const { row, name, seen, remedy } of data.advice) {
    const number = data.rows.filter((each) => each.advice.some((found) => found.name === name)).length;
    const rows = counted(number, "row");
    const button = make("button", { type: "button", "aria-label": `Show the ${rows} with the advice ${name}` }, `Show ${rows}`);
    button.addEventListener("click", () => {
      clearFilters();
      pick("advice", [name]);
      update();
      byId("table").scrollIntoView();
    });
    const advice = make("div", {}, make("strong", {}, name), ` · ${data.rows[row].title}: ${seen}. `);
    advice.append(make("span", { class: "remedy" }, `Try: ${remedy}.`));
    list.append(make("li", {}, advice, button));
  }
}

// Accuracy lost per speed-up. Every row of the data is in it, whatever the filters leave.
function addTradeOff() {
  const found = data.tradeOff;
  if (!found) return;
  const alignOf = (i) => (found.columns[i].align === "right" ? "number" : null);
  const cellOf = (row, [text, detail], i) => {
    const cell = make(i ? "td" : "th", { class: alignOf(i), scope: i ? null : "row" }, text);
    if (!i) cell.append(...row.marks.flatMap((mark) => [" ", make("a", { class: "mark-note", href: `#note-${mark}` }, mark)]));
    if (detail) cell.append(make("span", { class: "below" }, detail));
    return cell;
  };
  const section = byId("trade-off");
  section.hidden = false;
  byId("trade-off-title").textContent = found.title;
  section.querySelector("thead tr").append(
    ...found.columns.map((column, i) =>
      make("th", { scope: "col", class: `plain ${alignOf(i) ?? ""}`, title: column.meaning }, column.title),
    ),
  );
  section.querySelector("tbody").append(
    ...found.groups.flatMap(({ heading, rows }) => [
      ...(heading ? [make("tr", { class: "group" }, make("th", { colspan: found.columns.length, scope: "colgroup" }, heading))] : []),
      ...rows.map((row) => make("tr", {}, ...row.cells.map((cell, i) => cellOf(row, cell, i)))),
    ]),
  );
}

function addMeanings() {
  const others = (data.tradeOff?.columns ?? []).filter(
    ({ title, meaning }) => !data.columns.some((column) => column.title === title && column.meaning === meaning),
  );
  document.querySelector("#meanings dl").append(
    ...[...data.columns, ...others].flatMap((column) => [make("dt", {}, column.title), make("dd", {}, column.meaning)]),
  );
}

function clearFilters() {
  state.words = [];
  byId("filter").value = "";
  for (const facet of facets) pick(facet.name, []);
  update();
}

function addControls() {
  byId("filter").addEventListener("input", (event) => {
    state.words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    update();
  });
  byId("clear").addEventListener("click", () => {
    clearFilters();
    byId("filter").focus();
  });
  byId("download-all").addEventListener("click", saveAll);
  const theme = byId("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const showTheme = () => {
    const isDark = (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
    theme.setAttribute("aria-pressed", isDark);
    return isDark;
  };
  dark.addEventListener("change", showTheme);
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = showTheme() ? "light" : "dark";
    showTheme();
  });
  showTheme();
}

addConditions();
addFacets();
addTable();
addChooser();
addMenus();
addControls();
addTradeOff();
addAdvice();
addMeanings();
addChart();
renderHead();
update();
document.documentElement.dataset.ready = "true";
