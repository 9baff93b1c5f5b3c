// A line chart: lines, bands of spread, reference lines and marked events; a cursor for pointer and
// keyboard that reads the values out; a table behind it.

// Steps of 1, 2 or 5 times a power of ten, about `count` of them.
function ticksOf(low, high, count) {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((size) => size >= rough);
  const ticks = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) ticks.push(Number((n * step).toPrecision(12)));
  return ticks;
}

function linePath(points, x, y, stepped = false) {
  let path = "", last = null;
  for (const [px, py] of points) {
    if (!isNumber(py)) last = null;
    else {
      const [sx, sy] = [x(px).toFixed(1), y(py).toFixed(1)];
      path += last === null ? `M${sx} ${sy}` : stepped ? `H${sx}V${sy}` : `L${sx} ${sy}`;
      last = py;
    }
  }
  return path;
}

function bandPath(points, x, y) {
  const known = points.filter(([, low, high]) => isNumber(low) && isNumber(high));
  if (known.length < 2) return "";
  const there = known.map(([px, , high]) => `${x(px).toFixed(1)} ${y(high).toFixed(1)}`);
  const back = known.toReversed().map(([px, low]) => `${x(px).toFixed(1)} ${y(low).toFixed(1)}`);
  return `M${[...there, ...back].join("L")}Z`;
}

const swatch = (series) =>
  svg("svg", { class: "swatch", width: 26, height: 12, "aria-hidden": "true" },
    series.band ? svg("rect", { class: `band ${series.look}`, x: 0, y: 1, width: 26, height: 10 }) : null,
    svg("path", { class: `line ${series.look}`, d: "M1 6H25" }));

// Draws `draw(width)` again whenever the width of `host` has changed.
function responsive(host, draw) {
  let width = 0;
  const look = () => {
    const now = Math.floor(host.clientWidth);
    if (now > 0 && now !== width) draw((width = now));
  };
  new ResizeObserver(look).observe(host);
  return { redraw: () => (width > 0 ? draw(width) : look()) };
}

// The x axis with its title, and light lines across at the ticks of y.
function axes(frame, x, y, spec) {
  const { left, right, top, bottom, width } = frame;
  const parts = [];
  for (const tick of spec.yTicks) {
    parts.push(svg("line", { class: "grid", x1: left, x2: right, y1: y(tick), y2: y(tick) }));
    parts.push(svg("text", { class: "tick", x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, spec.yText(tick)));
  }
  for (const tick of spec.xTicks) {
    parts.push(svg("line", { class: "axis", x1: x(tick), x2: x(tick), y1: bottom, y2: bottom + 4 }));
    parts.push(svg("text", { class: "tick", x: Math.min(x(tick), width - 8), y: bottom + 17, "text-anchor": "middle" }, spec.xText(tick)));
  }
  parts.push(svg("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }));
  parts.push(svg("text", { class: "tick", x: right, y: bottom + 33, "text-anchor": "end" }, spec.xName));
  if (spec.yName) parts.push(svg("text", { class: "tick", x: left, y: top - 10 }, spec.yName));
  return parts;
}

// Vertical lines where something happened. marks: [{x, text}]; texts that would overlap give way.
function markLines(frame, x, marks) {
  const parts = [];
  let free = -Infinity;
  for (const mark of marks) {
    const at = x(mark.x);
    if (!(at >= frame.left - 1 && at <= frame.right + 1)) continue;
    parts.push(svg("line", { class: "mark", x1: at, x2: at, y1: frame.top, y2: frame.bottom }));
    const room = 6.2 * mark.text.length + 8;
    const end = at + room > frame.width;
    const from = end ? at - room : at;
    if (from < free) continue;
    free = from + room;
    parts.push(svg("text", { class: "mark-text", x: end ? at - 4 : at + 4, y: frame.top + 9, "text-anchor": end ? "end" : "start" }, mark.text));
  }
  return parts;
}

// spec(): {x: [..], xName, xText, yName, yText, zero?, series: [{name, look, points: [[x, y]],
// band?: [[x, low, high]], stepped?, quiet?}], marks, says(x) -> text, table() -> element}.
// quiet: drawn thinly, and neither in the legend nor read out.
function lineChart(label, spec, height = 260) {
  const legend = el("ul", { class: "legend" });
  const drawing = svg("svg", { class: "chart", "aria-hidden": "true", focusable: "false" });
  const stage = el("div", { class: "stage", role: "slider", tabindex: "0", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "0", "aria-valuenow": "0" }, drawing);
  const readout = el("p", { class: "readout" });
  let data = null, cursor = null, place = null;

  const latest = (points) => points.findLast(([, y]) => isNumber(y))?.[1];
  function read() {
    const n = cursor ?? data.x.length - 1;
    const at = data.x[n];
    const values = data.series.filter((s) => !s.quiet).map((s) => [s, s.points.find(([x]) => x === at)?.[1]]);
    const text = n < 0 ? "Nothing to show yet." : `${data.says(at)}: ${values.filter(([, y]) => isNumber(y)).map(([s, y]) => `${s.name} ${data.yText(y, true)}`).join(", ")}`;
    setText(readout, text);
    stage.setAttribute("aria-valuemax", String(Math.max(0, data.x.length - 1)));
    stage.setAttribute("aria-valuenow", String(Math.max(0, n)));
    stage.setAttribute("aria-valuetext", text);
    return values;
  }
  function draw(width) {
    data = spec();
    const frame = { left: 58, right: width - 10, top: 26, bottom: height - 40, width };
    const known = data.series.flatMap((s) => [...s.points.map(([, y]) => y), ...(s.band ?? []).flatMap(([, low, high]) => [low, high])]).filter(isNumber);
    let [low, high] = known.length ? [Math.min(...known), Math.max(...known)] : [0, 1];
    if (data.zero) low = 0;
    const pad = (high - low || Math.abs(high) || 1) * 0.06;
    [low, high] = [data.zero ? 0 : low - pad, high + pad];
    const [first, last] = data.x.length ? [data.x[0], data.x.at(-1)] : [0, 1];
    const x = (value) => frame.left + ((value - first) / (last - first || 1)) * (frame.right - frame.left);
    const y = (value) => frame.bottom - ((value - low) / (high - low)) * (frame.bottom - frame.top);
    drawing.setAttribute("width", width);
    drawing.setAttribute("height", height);
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const cursorParts = svg("g", { class: "cursor" });
    setContent(drawing,
      axes(frame, x, y, { ...data, yTicks: ticksOf(low, high, 5), xTicks: ticksOf(first, last, Math.max(2, Math.min(10, width / 80))).filter((tick) => !data.whole || Number.isInteger(tick)) }),
      markLines(frame, x, data.marks ?? []),
      data.series.map((s) => (s.band ? svg("path", { class: `band ${s.look}`, d: bandPath(s.band, x, y) }) : null)),
      data.series.map((s) => svg("path", { class: `line ${s.look}${s.quiet ? " quiet" : ""}`, d: linePath(s.points, x, y, s.stepped) })),
      data.series.filter((s) => !s.quiet && s.points.length === 1).map((s) => svg("circle", { class: `dot ${s.look}`, r: 3.5, cx: x(s.points[0][0]), cy: y(s.points[0][1]) })),
      cursorParts);
    setContent(legend, data.series.filter((s) => !s.quiet).map((s) => el("li", {}, swatch(s), el("span", {}, s.name), el("strong", {}, data.yText(latest(s.points), true)))));
    place = { x, y, frame, cursorParts };
    showCursor();
  }
  function showCursor() {
    if (cursor !== null && cursor >= data.x.length) cursor = null;
    const values = read();
    setContent(place.cursorParts);
    if (cursor === null) return;
    const at = place.x(data.x[cursor]);
    place.cursorParts.append(svg("line", { x1: at, x2: at, y1: place.frame.top, y2: place.frame.bottom }),
      ...values.filter(([, y]) => isNumber(y)).map(([s, y]) => svg("circle", { class: `dot ${s.look}`, r: 4, cx: at, cy: place.y(y) })));
  }
  function point(event) {
    if (!data?.x.length) return;
    const at = event.clientX - drawing.getBoundingClientRect().left;
    let best = 0;
    data.x.forEach((value, n) => { if (Math.abs(place.x(value) - at) < Math.abs(place.x(data.x[best]) - at)) best = n; });
    cursor = best;
    showCursor();
  }
  stage.addEventListener("pointermove", point);
  stage.addEventListener("pointerdown", point);
  stage.addEventListener("pointerleave", () => { cursor = null; if (data) showCursor(); });
  stage.addEventListener("keydown", (event) => {
    if (!data?.x.length) return;
    const last = data.x.length - 1, now = cursor ?? last;
    const to = { ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, PageDown: now - 10, PageUp: now + 10, Home: 0, End: last }[event.key];
    if (event.key === "Escape") cursor = null;
    else if (to === undefined) return;
    else cursor = Math.min(last, Math.max(0, to));
    event.preventDefault();
    showCursor();
  });
  const behind = tableBehind(() => spec().table());
  const host = el("div", { class: "figure-box" }, legend, stage, readout, behind);
  const { redraw } = responsive(stage, draw);
  return { host, update: () => { redraw(); behind.refresh(); } };
}
