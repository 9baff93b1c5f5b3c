// Groups over time as a river: each group is a bed, each node a stream that stays in its group's bed
// and crosses over when the node moves.
//
// spec(): {x: [..] rounds, xName, xText, lanes: [{key, name, note?}], nodes: [{name, community, me?,
// hostile?, path: [[x, lane key or null] ...] where it changes}], widths?: {key: [[x, members]]},
// marks: [{x, text}], numbered?: [{x, to, number}], picked: index or null, says(n) -> text}

const MOST_STREAMS = 64;

// Where a node is at x; null: nowhere.
function laneAt(path, x) {
  let lane = null;
  for (const [from, key] of path) {
    if (from > x) break;
    lane = key;
  }
  return lane;
}

// For each x the nodes in each lane, those of one community beside each other.
function placesOf(data) {
  const order = data.nodes.map((node, n) => n).sort((a, b) => (data.nodes[a].community ?? 0) - (data.nodes[b].community ?? 0) || a - b);
  const slots = data.nodes.map(() => []);
  const most = new Map(data.lanes.map((lane) => [lane.key, 0]));
  const alive = new Map();
  data.x.forEach((x, n) => {
    const filled = new Map();
    for (const index of order) {
      const lane = laneAt(data.nodes[index].path, x);
      const slot = lane === null ? null : filled.get(lane) ?? 0;
      slots[index].push(lane === null ? null : { lane, slot });
      if (lane !== null) filled.set(lane, slot + 1);
    }
    for (const [lane, count] of filled) {
      most.set(lane, Math.max(most.get(lane) ?? 0, count));
      if (!alive.has(lane)) alive.set(lane, [n, n]);
      alive.get(lane)[1] = n;
    }
  });
  return { slots, most, alive };
}

// The parts of a list of [x, value] in which values are known.
function stretches(points) {
  const parts = [[]];
  for (const point of points) {
    if (isNumber(point[1])) parts.at(-1).push(point);
    else if (parts.at(-1).length) parts.push([]);
  }
  return parts.filter((part) => part.length);
}

function streamPath(places, xs, x, y) {
  let path = "", before = null;
  places.forEach((place, n) => {
    if (place === null) before = null;
    else {
      const at = [x(xs[n]), y(place)];
      if (before === null) path += `M${at[0].toFixed(1)} ${at[1].toFixed(1)}`;
      else if (Math.abs(before[1] - at[1]) < 0.05) path += `H${at[0].toFixed(1)}`;
      else {
        const bend = (before[0] + at[0]) / 2;
        path += `C${bend.toFixed(1)} ${before[1].toFixed(1)} ${bend.toFixed(1)} ${at[1].toFixed(1)} ${at[0].toFixed(1)} ${at[1].toFixed(1)}`;
      }
      before = at;
    }
  });
  return path;
}

// Of many nodes: how many of each community are in each group, as areas on top of each other.
function crowdPaths(data, tops, gap, x) {
  const parts = [], communities = [...new Set(data.nodes.map((node) => node.community ?? 0))].sort((a, b) => a - b);
  for (const lane of data.lanes) {
    let under = data.x.map(() => 0);
    for (const community of communities) {
      const inside = data.nodes.filter((node) => (node.community ?? 0) === community);
      const count = data.x.map((at) => inside.filter((node) => laneAt(node.path, at) === lane.key).length);
      const over = under.map((sum, n) => sum + count[n]);
      if (count.some(Boolean)) {
        const band = data.x.map((at, n) => [at, under[n], over[n]]);
        const y = (members) => tops.get(lane.key) + members * gap;
        parts.push(svg("path", { class: `crowd ${colourOf(community)}`, d: bandPath(band, x, y) }));
        const widest = count.indexOf(Math.max(...count.slice(Math.floor(count.length / 2))), Math.floor(count.length / 2));
        if (count[widest] * gap > 12) parts.push(svg("text", { class: "crowd-text", x: Math.min(x(data.x[widest]), x(data.x.at(-1)) - 12), y: y((under[widest] + over[widest]) / 2) + 4, "text-anchor": "middle" }, letterOf(community)));
      }
      under = over;
    }
  }
  return parts;
}

function river(label, spec, onPick = null) {
  const drawing = svg("svg", { class: "chart river", role: "img", "aria-label": label });
  const stage = el("div", { class: "stage" }, drawing);
  const readout = el("p", { class: "readout" });

  function draw(width) {
    const data = spec();
    const crowd = data.nodes.length > MOST_STREAMS;
    const { slots, most, alive } = placesOf(data);
    const widths = data.widths ?? {};
    for (const [key, points] of Object.entries(widths)) most.set(key, Math.max(1, ...points.map(([, members]) => members)));
    const total = [...most.values()].reduce((sum, count) => sum + Math.max(1, count), 0);
    const gap = crowd ? Math.min(4, 420 / Math.max(1, total)) : Math.max(4, Math.min(data.gap ?? 13, 520 / Math.max(1, total)));
    const frame = { left: 14, right: width - (crowd || data.plain ? 14 : 52), top: data.marks?.length ? 24 : 6, width };
    const tops = new Map();
    let down = frame.top + 4;
    for (const lane of data.lanes) {
      tops.set(lane.key, down + 20);
      down += 20 + Math.max(1, most.get(lane.key) ?? 0) * gap + 12;
    }
    frame.bottom = down;
    const height = down + 40;
    const [first, last] = data.x.length ? [data.x[0], data.x.at(-1)] : [0, 1];
    const x = (value) => frame.left + ((value - first) / (last - first || 1)) * (frame.right - frame.left);
    const y = ({ lane, slot }) => tops.get(lane) + (slot + 0.5) * gap;
    const middle = (key) => tops.get(key) + (Math.max(1, most.get(key) ?? 0) * gap) / 2;
    drawing.setAttribute("width", width);
    drawing.setAttribute("height", height);
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const beds = data.lanes.map((lane) => {
      const [from, to] = alive.get(lane.key) ?? [data.x.length - 1, data.x.length - 1];
      const begin = x(data.x[Math.max(0, from)] ?? first), end = x(data.x[Math.max(0, to)] ?? last);
      const tall = Math.max(1, most.get(lane.key) ?? 0) * gap;
      const name = seen(lane.name, 40) + (lane.note ? ` · ${lane.note}` : "");
      const atEnd = begin > width * 0.6;
      return {
        bed: svg("rect", { class: lane.dim ? "bed dim" : "bed", x: lane.dim ? frame.left : begin - 4, y: tops.get(lane.key) - 4, width: lane.dim ? frame.right - frame.left : Math.max(8, end - begin + 8), height: tall + 8, rx: 6 }),
        name: svg("text", { class: "bed-name", x: atEnd ? frame.right : lane.dim ? frame.left : begin, y: tops.get(lane.key) - 8, "text-anchor": atEnd ? "end" : "start" }, name),
      };
    });
    const swells = Object.entries(widths).flatMap(([key, points]) => stretches(points).map((stretch) => {
      const band = stretch.map(([at, members]) => [at, middle(key) - (members * gap) / 2, middle(key) + (members * gap) / 2]);
      return svg("path", { class: "swell", d: bandPath(band, x, (value) => value) });
    }));
    const streams = crowd ? crowdPaths(data, tops, gap, x) : data.nodes.map((node, n) => {
      const places = Object.keys(widths).length ? slots[n].map((place) => place && { ...place, middle: true }) : slots[n];
      const at = (place) => (place.middle ? middle(place.lane) : y(place));
      const d = streamPath(places, data.x, x, at);
      const end = places.findLastIndex((place) => place !== null);
      const dim = data.picked !== null && data.picked !== undefined && data.picked !== n;
      const group = svg("g", { class: `stream ${node.me ? "me" : colourOf(node.community)}${dim ? " dim" : ""}${data.picked === n ? " picked" : ""}${node.hostile ? " hostile" : ""}` },
        svg("path", { class: "hit", d }), svg("path", { class: "water", d }),
        end < 0 || data.plain ? null : svg("text", { class: "stream-name", x: x(data.x[end]) + 5, y: at(places[end]) + 3.5 }, seen(`${node.short ?? node.name}${letterOf(node.community)}`, 8)),
        end >= 0 && end < data.x.length - 1 ? svg("text", { class: "gone", x: x(data.x[end]) - 3, y: at(places[end]) + 4 }, "×") : null);
      group.addEventListener("pointerenter", () => setText(readout, data.says(n)));
      if (onPick) group.addEventListener("click", () => onPick(n));
      return group;
    });
    if (crowd && isNumber(data.picked)) {  // one of the many, through the middle of its groups
      streams.push(svg("g", { class: "stream one" }, svg("path", { class: "water", d: streamPath(slots[data.picked], data.x, x, (place) => middle(place.lane)) })));
    }
    const numbers = (data.numbered ?? []).map((move) => svg("g", { class: "number-mark" },
      svg("circle", { cx: x(move.x), cy: middle(move.to), r: 9 }), svg("text", { x: x(move.x), y: middle(move.to) + 4, "text-anchor": "middle" }, String(move.number))));
    setContent(drawing, beds.map(({ bed }) => bed),
      axes({ ...frame, top: frame.top }, x, () => 0, { yTicks: [], xTicks: ticksOf(first, last, Math.max(2, Math.min(10, width / 80))).filter(Number.isInteger), xText: data.xText, xName: data.xName }),
      markLines(frame, x, data.marks ?? []), swells, streams, beds.map(({ name }) => name), numbers);
    setText(readout, data.picked === null || data.picked === undefined ? data.hint ?? "" : data.says(data.picked));
  }
  const { redraw } = responsive(stage, draw);
  return { host: el("div", { class: "figure-box" }, stage, readout), update: redraw };
}
