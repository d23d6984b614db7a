// What all parts of the page's script share: the data, the state, elements and values. The parts
// are put together in one script (see page.py), each after those that it uses. They make no words or
// rounded figures of their own but for ticks and counts; content.py has those, and says what the
// data look like. Elements are made of text, never of markup: names in the data may hold anything.

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const numRows = data.rows.length;
const columns = new Map(data.columns.map((column) => [column.name, column]));
const every = [...Array(numRows).keys()];
const MOST_ROWS = 150; // rendered at first, and again where the reader has scrolled to their end

const state = {
  words: [],
  picked: new Map(), // a facet's name -> the set of its texts that are wanted
  sort: null, // {name, ascending}; null for the order of the records
  shown: new Set(data.shown),
  open: new Set(),
  most: MOST_ROWS,
  visible: every,
};

// ---- Elements ------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg"; // a name, which nobody fetches

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null && child !== ""));
  return element;
}
const make = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

// ---- Values --------------------------------------------------------------------------------

const valueOf = (column, row) => column.values[row];
const textOf = (column, row) => (column.texts ? column.texts[row] : (column.values[row] ?? "–"));
// Whether a row is ranked by these columns: it can be, and none of its figures there is in doubt.
const isRanked = (row, ...by) => data.rows[row].isRanked && !by.some((column) => column.doubted.includes(row));
const doubtsOf = (row) => data.rows[row].advice.filter(({ about }) => about);
// The footnotes of a row that say how its conditions differ.
const apartOf = (row) => data.footnotes.filter((note) => !note.is_doubt && data.rows[row].marks.includes(note.mark));
const isNumber = (column) => column.kind === "number";
const counted = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

const haystacks = every.map((row) =>
  [
    ...data.columns.filter((column) => !isNumber(column)).map((column) => textOf(column, row)),
    ...data.rows[row].problems,
    ...data.rows[row].advice.map((advice) => advice.name),
    data.rows[row].title,
  ]
    .join("\n")
    .toLowerCase(),
);

function compareBy(column, ascending) {
  const sign = ascending ? 1 : -1;
  return (a, b) => {
    const x = valueOf(column, a);
    const y = valueOf(column, b);
    if (x === null || y === null) return (x === null) - (y === null); // what is missing, last
    return sign * (typeof x === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true }));
  };
}

