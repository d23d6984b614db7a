// The chart's two axes: which columns are on them, from raw values to pixels, ticks and lines.

const MOST_WHISKERS = 40;

const axes = { x: null, y: null, logX: false, group: null };

const valuesOf = (column) => column.values.filter((value) => value !== null);
const spansDecade = (column) => Math.min(...valuesOf(column)) > 0 && Math.max(...valuesOf(column)) > 8 * Math.min(...valuesOf(column));

// The scale of an axis: from raw values to pixels, and the ticks in the unit that is shown.
function scaleOf(column, rows, isLog, [start, end]) {
  const ranges = rows.length > MOST_WHISKERS ? [] : rows.flatMap((row) => column.bounds?.[row] ?? []);
  const raw = [...rows.map((row) => valueOf(column, row)), ...ranges];
  const values = raw.filter((value) => !isLog || value > 0).map((value) => value * column.factor);
  let low = Math.min(...values);
  let high = Math.max(...values);
  if (isLog) {
    low /= 1.12;
    high *= 1.12;
  } else {
    const room = (high - low) * 0.07 || Math.abs(high) * 0.1 || 1;
    const isShare = column.factor === 100 && column.name !== "delta-top-1";
    const lowest = low >= 0 ? 0 : -Infinity;
    low = Math.max(lowest, low - room);
    high = isShare && high <= 100 ? Math.min(100 + room * 0.3, high + room) : high + room;
  }
  const bent = (value) => (isLog ? Math.log(value) : value);
  const at = (value) => start + ((end - start) * (bent(value) - bent(low))) / (bent(high) - bent(low));
  const wanted = Math.max(2, Math.abs(end - start) / (start > end ? 50 : 90));
  const ticks = isLog ? logTicks(low, high) : linearTicks(low, high, wanted);
  return { at: (value) => at(value * column.factor), ticks: ticks.map((tick) => [at(tick), tick]) };
}

function linearTicks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough);
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high; i += 1) ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
}

function logTicks(low, high) {
  const factors = high / low > 200 ? [1] : high / low > 12 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 8];
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (const factor of factors) {
      const tick = Number((factor * 10 ** power).toPrecision(6));
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  }
  return ticks.length > 1 ? ticks : linearTicks(low, high, 4);
}

const asTick = (value) => value.toLocaleString("en", { maximumSignificantDigits: 6 });
const direction = (column) => (column.best ? `, ${column.best === "max" ? "more" : "less"} is better` : "");

function drawAxes(svg, area, across, up, height) {
  let end = -Infinity;
  for (const [at, tick] of across.ticks) {
    svg.append(draw("line", { class: "grid", x1: at, x2: at, y1: area.top, y2: area.bottom }));
    const half = 3.6 * asTick(tick).length + 4;
    if (at - half < end) continue; // labels of a log scale get close
    end = at + half;
    svg.append(draw("text", { x: at, y: area.bottom + 16, "text-anchor": "middle" }, asTick(tick)));
  }
  for (const [at, tick] of up.ticks) {
    svg.append(draw("line", { class: "grid", x1: area.left, x2: area.right, y1: at, y2: at }));
    svg.append(draw("text", { x: area.left - 7, y: at + 4, "text-anchor": "end" }, asTick(tick)));
  }
  svg.append(draw("line", { class: "frame", x1: area.left, x2: area.right, y1: area.bottom, y2: area.bottom }));
  svg.append(draw("line", { class: "frame", x1: area.left, x2: area.left, y1: area.top, y2: area.bottom }));
  const middle = (area.top + area.bottom) / 2;
  svg.append(
    draw("text", { class: "axis-title", x: (area.left + area.right) / 2, y: height - 6, "text-anchor": "middle" }, `${axes.x.title}${axes.logX ? ", log scale" : ""}${direction(axes.x)}`),
    draw("text", { class: "axis-title", "text-anchor": "middle", transform: `translate(12 ${middle}) rotate(-90)` }, `${axes.y.title}${direction(axes.y)}`),
  );
}

