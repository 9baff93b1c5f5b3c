// The report of simulated runs (and of other runs of many nodes): state.page is
// {kind: "simulation", title, scenario, events, references, runs: [{series, seed, label, rounds,
// nodes, moves, references, summary}], aggregate}. openfl_cli/report/runs.py and nodes.py make it.

const MOST_MATRIX = 40;
// What is counted along the x axis: rounds, or in a run of real nodes seconds, of which one in
// `step` is shown.
const unitOf = (page) => page.scenario.unit ?? "round";
const atText = (page, x) => (unitOf(page) === "round" ? `in round ${x}` : `after ${x} s`);
const At = (page, x) => (unitOf(page) === "round" ? `Round ${x}` : `After ${x} s`);
const measured = (page) => page.scenario.measured ?? "test";
const BANDED = ["together", "c2", "c3", "c4", "c5", "c6"];

const bySeries = (runs) => Map.groupBy ? Map.groupBy(runs, (run) => run.series) : runs.reduce((map, run) => map.set(run.series, [...(map.get(run.series) ?? []), run]), new Map());
const nodeName = (node) => `${seen(node.name, 40)}${isNumber(node.community) ? ` of taste ${letterOf(node.community)}` : ""}`;

// Mean and spread over the runs of one series, by round; of one run its values.
function overRuns(runs, valueOf) {
  const rounds = [...new Set(runs.flatMap((run) => run.rounds.map((record) => record.round)))].sort((a, b) => a - b);
  const tables = runs.map((run) => new Map(run.rounds.map((record) => [record.round, valueOf(record, run)])));
  const points = [], band = [];
  for (const round of rounds) {
    const values = tables.map((table) => table.get(round)).filter(isNumber);
    points.push([round, values.length ? mean(values) : null]);
    if (values.length) band.push([round, mean(values) - spread(values), mean(values) + spread(values)]);
  }
  return { points, band: runs.length > 1 ? band : null };
}

// Lines of one quantity: for each series its mean with a band of one standard deviation, and each
// run thinly.
function seriesOf(page, valueOf, name) {
  const all = [...bySeries(page.runs)];
  return all.flatMap(([series, runs], n) => {
    const { points, band } = overRuns(runs, valueOf), look = BANDED[n % BANDED.length];
    const thin = runs.length > 1 ? runs.map((run) => ({ name: run.label, look, quiet: true, points: run.rounds.map((record) => [record.round, valueOf(record, run)]) })) : [];
    return [...thin, { name: all.length > 1 ? `${name}, ${seen(series, 30)}` : name, look, points, band }];
  });
}

function quantityChart(page, label, spec, height = 240) {
  const rounds = [...new Set(page.runs.flatMap((run) => run.rounds.map((record) => record.round)))].sort((a, b) => a - b);
  return lineChart(label, () => {
    const lines = spec.series();
    return {
      x: rounds, xName: unitOf(page), xText: String, whole: true, yName: spec.yName, zero: spec.zero, yText: spec.yText,
      series: lines, marks: (page.events ?? []).map((event) => ({ x: event.round, text: seen(event.text, 24) })),
      says: (round) => At(page, round),
      table: () => {
        const shown = lines.filter((line) => !line.quiet);
        return tableOf(label, [{ name: unitOf(page), number: 1 }, ...shown.flatMap((line) => [{ name: line.name, number: 1 }, ...(line.band ? [{ name: "spread", number: 1 }] : [])])],
          rounds.map((round) => [String(round), ...shown.flatMap((line) => {
            const y = line.points.find(([x]) => x === round)?.[1], band = line.band?.find(([x]) => x === round);
            return [spec.yText(y, true), ...(line.band ? [band ? `± ${spec.yText((band[2] - band[1]) / 2, true)}` : UNKNOWN] : [])];
          })]));
      },
    };
  }, height);
}

const exactMetric = (y, exact) => (exact ? metricValue(y) : String(Number(y.toPrecision(3))));
const REFERENCE_LOOKS = { alone: "alone", central: "central", oracle: "oracle", together: "central", random: "random" };

function referenceLines(page) {
  const rounds = page.runs.flatMap((run) => run.rounds.map((record) => record.round));
  if (!rounds.length) return [];
  const ends = [Math.min(...rounds), Math.max(...rounds)];
  return (page.references ?? []).filter((reference) => isNumber(reference.value)).map((reference) => ({ name: reference.name, look: REFERENCE_LOOKS[reference.key] ?? "random", reference: true, points: ends.map((x) => [x, reference.value]) }));
}

// What the chart of errors shows: the mean over nodes where groups are the question, as the
// references are; else over all held-out data together.
const errorOf = (page) => (page.scenario.several ? (record) => record.test.mean : (record) => record.test.pooled);

function simulationHero(state) {
  const { page } = state, { scenario } = page, name = metricName(scenario.metric);
  const big = el("p", { class: "big" }), lead = [];
  const ends = page.runs.map((run) => errorOf(page)(run.rounds.at(-1) ?? { test: {} })).filter(isNumber);
  const end = ends.length ? mean(ends) : null, reference = (key) => page.references?.find((r) => r.key === key)?.value;
  const against = (key, words) => { const found = comparison(end, reference(key)); return found ? `${found.text} ${words}` : null; };
  const alone = comparison(end, reference("alone"));
  const single = bySeries(page.runs).size === 1;
  if (!single) {
    const order = [...bySeries(page.runs)].map(([series, runs]) => [seen(series, 40), runs.map((run) => errorOf(page)(run.rounds.at(-1) ?? { test: {} })).filter(isNumber)]).filter(([, values]) => values.length).sort(([, a], [, b]) => mean(a) - mean(b));
    setContent(big, `${whole(bySeries(page.runs).size)} series of runs beside each other${order.length > 1 ? `: ${order[0][0]} does best.` : "."}`);
    lead.push(`At the end their ${name} is ${order.map(([series, values]) => `${metricValue(mean(values))}${values.length > 1 ? ` ± ${metricValue(spread(values))}` : ""} (${series})`).join(", ")}: ${metricMeaning(scenario.metric)}, on data nobody trained on; lower is better.`);
  }
  else if (alone) setContent(big, "Together the nodes predict ", el("strong", { class: alone.better === false ? "worse" : "better" }, alone.amount), alone.better === null ? " as each alone." : " than each alone.");
  else setText(big, `The nodes together end at ${name} ${metricValue(end)}.`);
  if (single) {
    const others = [against("oracle", "a model for each community"), against("together", "one model for all"), against("central", "one model of all their data"), against("random", "models for groups that chance made")].filter(Boolean);
    lead.push(`At the end their ${name} is ${metricValue(end)}${ends.length > 1 ? ` ± ${metricValue(spread(ends))} over ${ends.length} seeds` : ""}: ${metricMeaning(scenario.metric)}, on data nobody trained on; lower is better.${others.length ? ` Against models trained in one place it is ${others.join("; ")}.` : ""}`);
  }
  const purities = page.runs.map((run) => run.rounds.at(-1)?.purity).filter(isNumber), moves = page.runs.map((run) => run.rounds.at(-1)?.moves).filter(isNumber);
  if (scenario.several && single && purities.length) lead.push(`${percentText(mean(purities))} of the nodes ended in a group where most are of their own taste, after ${mean(moves).toFixed(page.runs.length > 1 ? 1 : 0)} moves${page.runs.length > 1 ? " a run" : ""}. Nobody told them who belongs together.`);
  const facts = figures([
    ["Nodes", whole(scenario.nodes)], [unitOf(page) === "round" ? "Rounds" : "Seconds", whole(scenario.rounds)], ["Runs", whole(page.runs.length)],
    scenario.communities > 1 ? ["Tastes", whole(scenario.communities)] : null,
    isNumber(page.runs[0]?.rounds.at(-1)?.published_bytes) ? ["Published by a node", bytesText(mean(page.runs.map((run) => run.rounds.at(-1)?.published_bytes ?? 0)))] : null,
  ].filter(Boolean).map(([label, value]) => [value, label]));
  return { host: el("section", { id: "now", class: "hero", "aria-labelledby": "now-title", "data-nav": "Result" }, el("h2", { id: "now-title", class: "unseen" }, "Result"), big, lead.map((text) => el("p", { class: "lead" }, text)), scenario.description && single ? el("p", { class: "note" }, `${seen(scenario.name, 60)}: ${seen(scenario.description, 300)}.`) : null, facts) };
}

function simulationLearning(state) {
  const { page } = state, name = metricName(page.scenario.metric), what = page.scenario.several ? "mean of the nodes" : "the nodes together";
  const chart = quantityChart(page, "Error over time", { yName: `${measured(page)} ${name}, lower is better`, yText: exactMetric, series: () => [...seriesOf(page, errorOf(page), what), ...referenceLines(page)] }, 320);
  const parts = [el("p", { class: "lead" }, `How far the nodes' predictions are off, ${unitOf(page)} by ${unitOf(page)}${page.runs.length > 1 ? "; the band is one standard deviation to either side of the mean over the runs, the thin lines are the runs" : ""}.${page.references?.length ? " Dashed lines: what others would reach with the same data." : ""}`), chart.host];
  const one = page.runs.length === 1 && page.runs[0].rounds.some((record) => isNumber(record.test.worst));
  if (one) parts.push(el("h3", {}, "How the nodes differ"), quantityChart(page, "How the nodes differ", { yName: `${measured(page)} ${name} of a node`, yText: exactMetric, series: () => [["worst node", "c2", "worst"], ["mean of the nodes", "c3 dashed", "mean"], ["median node", "together", "median"]].map(([label, look, key]) => ({ name: label, look, points: page.runs[0].rounds.map((record) => [record.round, record.test[key]]) })) }).host);
  return { host: section("learning", "Learning", parts) };
}

// --- groups ---------------------------------------------------------------------------------------

const shownPath = (path) => path.filter(([, group], n) => n === 0 || group !== path[n - 1][1]);

function nodeStory(page, run, n) {
  const node = run.nodes[n], way = shownPath(node.path).filter(([, group]) => group !== null);
  const made = run.moves.filter((move) => move.node === n);
  if (!way.length) return `${nodeName(node)} was never there.`;
  const stay = `${nodeName(node)} began in ${seen(way[0][1], 40)}`;
  if (!made.length) return `${stay} and stayed.`;
  return `${stay}; ${made.map((move) => `${atText(page, move.round)} it ${move.action === "found" ? "founded" : "moved to"} ${seen(move.to, 40)}`).join("; ")}.`;
}

function simulationGroups(state) {
  const { page } = state, runs = page.runs.filter((run) => run.nodes?.length);
  if (!runs.length) return page.scenario.several ? { host: section("groups", "Groups and moves", el("p", { class: "lead" }, "Where each node was is not in the records of this run: of many nodes, or of an earlier version, they have sums alone."), purityCharts(page)) } : null;
  let run = runs[0], picked = null;
  const communities = [...new Set(run.nodes.map((node) => node.community).filter(isNumber))].sort((a, b) => a - b);
  const tastes = communities.length > 1;
  const legend = tastes ? el("ul", { class: "legend" }, communities.map((community) => el("li", {}, swatch({ look: `taste ${colourOf(community)}` }), el("span", {}, `taste ${letterOf(community)}`)))) : null;
  const runChoice = el("select", { id: "run" }, runs.map((each, n) => el("option", { value: n }, seen(each.label, 60))));
  const nodeChoice = el("select", { id: "node" });
  const story = el("div", { class: "chosen", "aria-live": "polite" });
  const ends = el("div", {}), moveBox = el("div", {}), matrix = matrixSection(page);
  const chart = river("Who is in which group over time", () => {
    const xs = run.rounds.map((record) => record.round);
    const first = Math.min(0, ...run.nodes.flatMap((node) => node.path.map(([x]) => x)));
    const x = xs[0] > first ? [first, ...xs] : xs;
    const lanes = [];
    for (const at of x) for (const node of run.nodes) { const lane = laneAt(node.path, at); if (lane !== null && !lanes.some((l) => l.key === lane)) lanes.push({ key: lane, name: lane }); }
    lanes.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
    return {
      x, xName: unitOf(page), xText: String, lanes, picked,
      nodes: run.nodes.map((node, n) => ({ ...node, short: node.short ?? String(n + 1) })),
      marks: (page.events ?? []).map((event) => ({ x: event.round, text: seen(event.text, 24) })),
      hint: run.nodes.length > MOST_STREAMS ? "As thick as there are nodes; colours and letters are tastes." : `One line is one node; its number ${tastes ? "and taste stand" : "stands"} at its end. Point at a line, or choose a node.`,
      says: (n) => nodeStory(page, run, n),
    };
  }, (n) => pick(picked === n ? null : n));

  function pick(n) {
    picked = n;
    nodeChoice.value = n === null ? "" : String(n);
    show();
  }
  function show() {
    chart.update();
    if (picked === null) return setContent(story);
    const node = run.nodes[picked], moves = run.moves.filter((move) => move.node === picked);
    const judged = (node.values ?? []).filter(isNumber), course = judged.length > 1 ? comparison(judged.at(-1), judged[0]) : null;
    setContent(story, el("h3", {}, nodeName(node)), el("p", {}, nodeStory(page, run, picked), course ? ` Its error went from ${metricValue(judged[0])} to ${metricValue(judged.at(-1))}: ${percentText(course.part)} ${course.part >= 0 ? "better" : "worse"}.` : ""),
      el("p", {}, teachersText(page, run, picked)),
      moves.length ? el("ol", { class: "reasons" }, moves.map((move) => el("li", {}, el("p", {}, el("strong", {}, `${At(page, move.round)}: `, "from ", named(move.from), " to ", named(move.to)), ". ", move.why ? `Why: ${moveReason(move)}` : "")))) : null);
  }
  function choose() {
    picked = null;
    setContent(nodeChoice, el("option", { value: "" }, "all nodes"), run.nodes.map((node, n) => el("option", { value: n }, nodeName(node))));
    setContent(ends, groupTable(run, tastes));
    const moves = run.moves.map((move) => [String(move.round), nodeName(run.nodes[move.node] ?? { name: "?" }), named(move.from), named(move.to), moveReason(move)]);
    setContent(moveBox, moves.length ? tableOf("Every move and its reason", [{ name: unitOf(page), number: 1 }, { name: "node" }, { name: "from" }, { name: "to" }, { name: "why" }], moves) : el("p", { class: "note" }, "Nobody moved."));
    matrix.show(run, tastes);
    show();
  }
  runChoice.addEventListener("change", () => { run = runs[Number(runChoice.value)]; choose(); });
  nodeChoice.addEventListener("change", () => pick(nodeChoice.value === "" ? null : Number(nodeChoice.value)));
  choose();
  const host = section("groups", page.scenario.several ? "Groups and moves" : "The nodes",
    el("p", { class: "lead" }, page.scenario.several ? groupsText(run, tastes) : nodesText(run)),
    el("div", { class: "ask" }, runs.length > 1 ? [el("label", { for: "run" }, "Run"), runChoice] : null, el("label", { for: "node" }, "Follow"), nodeChoice),
    el("div", { class: "figure-box" }, legend, chart.host), story,
    page.runs.some((each) => each.rounds.some((record) => isNumber(record.purity))) ? purityCharts(page) : null,
    el("h3", {}, page.scenario.several ? "Groups at the end" : "At the end"), ends, matrix.host,
    page.scenario.several ? [el("h3", {}, "Why they moved"), moveBox] : null);
  return { host, update: () => chart.update() };
}

function purityCharts(page) {
  const part = (y) => (isNumber(y) ? y.toFixed(2) : UNKNOWN);
  return [el("h3", {}, "Sorting themselves out"),
    el("p", {}, "Purity is the part of the nodes in a group where most are of their own taste: 1 when no group mixes them."),
    quantityChart(page, "Purity over time", { yText: part, series: () => seriesOf(page, (record) => record.purity, "purity") }, 190).host,
    quantityChart(page, "Moves over time", { zero: true, yText: (y, exact) => (isNumber(y) ? (exact ? String(Number(y.toFixed(1))) : whole(y)) : UNKNOWN), series: () => seriesOf(page, (record) => record.moves, "moves").map((line) => ({ ...line, stepped: !line.band })) }, 190).host];
}

function endGroups(run) {
  const groups = new Map();
  run.nodes.forEach((node, n) => {
    const group = node.path.at(-1)?.[1] ?? null;
    if (group !== null) groups.set(group, [...(groups.get(group) ?? []), n]);
  });
  return [...groups].sort(([, a], [, b]) => b.length - a.length);
}

const tasteCounts = (run, inside) => {
  const counts = new Map();
  for (const n of inside) counts.set(run.nodes[n].community, (counts.get(run.nodes[n].community) ?? 0) + 1);
  return [...counts].filter(([community]) => isNumber(community)).sort(([, a], [, b]) => b - a).map(([community, count]) => `${count} of taste ${letterOf(community)}`);
};

function groupsText(run, tastes) {
  const at = (round) => { const groups = new Map(); run.nodes.forEach((node, n) => { const lane = laneAt(node.path, round); if (lane !== null) groups.set(lane, [...(groups.get(lane) ?? []), n]); }); return groups; };
  const first = run.nodes.flatMap((node) => node.path.map(([x]) => x)).reduce((a, b) => Math.min(a, b), 0), begun = at(first), ended = at(Infinity);
  const pure = [...ended.values()].filter((inside) => tasteCounts(run, inside).length === 1).length;
  const movers = new Set(run.moves.map((move) => move.node)).size;
  return `The nodes began in ${countOf(begun.size, "group")} and ended in ${whole(ended.size)}. ${movers ? `${countOf(movers, "node")} moved, ${countOf(run.moves.length, "time")} in all.` : "Nobody moved."}${tastes ? ` Of the groups at the end ${pure === ended.size ? "each is" : pure ? `${pure} ${pure === 1 ? "is" : "are"}` : "none is"} of one taste only.` : ""}`;
}

function nodesText(run) {
  const last = run.nodes.filter((node) => (node.path.at(-1)?.[1] ?? null) !== null).length, ever = run.nodes.filter((node) => node.path.some(([, group]) => group !== null)).length;
  return `All nodes are in one group. ${last === ever ? `All ${whole(ever)} were there at the end.` : `Of ${whole(ever)} that came ${whole(last)} were there at the end.`}`;
}

function groupTable(run, tastes) {
  const rows = endGroups(run).map(([group, inside]) => {
    const last = inside.map((n) => run.nodes[n].values?.findLast(isNumber)).filter(isNumber);
    return [named(group), whole(inside.length), ...(tastes ? [listText(tasteCounts(run, inside))] : []), listText(inside.map((n) => seen(run.nodes[n].short ?? run.nodes[n].name, 20)), 12), last.length ? metricValue(mean(last)) : UNKNOWN];
  });
  return tableOf("Groups at the end", [{ name: "group" }, { name: "nodes", number: 1 }, ...(tastes ? [{ name: "tastes" }] : []), { name: "which" }, { name: "mean error", number: 1 }], rows);
}

// --- who learned from whom ------------------------------------------------------------------------

const tellsTeachers = (run) => run.nodes.some((node) => node.teachers?.length);

// For each node in how many rounds its model had what each other node taught; where that was not
// noted, how long the two were in one group.
function learnedFrom(page, run) {
  if (tellsTeachers(run)) return run.nodes.map((node) => { const rounds = new Map(node.teachers); return run.nodes.map((_, n) => rounds.get(n) ?? 0); });
  const step = page.scenario.step ?? 1;
  const lanes = run.rounds.map((record) => run.nodes.map((node) => laneAt(node.path, record.round)));
  return run.nodes.map((_, a) => run.nodes.map((_, b) => lanes.filter((row) => row[a] !== null && row[a] === row[b]).length * step));
}

function teachersText(page, run, n) {
  const shared = learnedFrom(page, run)[n], order = run.nodes.map((_, other) => other).filter((other) => other !== n && shared[other] > 0).sort((a, b) => shared[b] - shared[a]);
  if (!order.length) return "It learned from nobody.";
  return `It ${tellsTeachers(run) ? "learned most from" : "was longest in one group with"} ${listText(order.slice(0, 5).map((other) => `${nodeName(run.nodes[other])} (${countOf(shared[other], unitOf(page))})`))}.`;
}

function matrixSection(page) {
  const drawing = svg("svg", { class: "chart matrix", role: "img" }), stage = el("div", { class: "stage" }, drawing), readout = el("p", { class: "readout" });
  const words = el("p", {}), host = el("div", {}, el("h3", {}, "Who learned from whom"), words, el("div", { class: "figure-box" }, stage, readout));
  let run = null;
  const { redraw } = responsive(stage, (width) => {
    if (!run) return;
    const order = run.nodes.map((_, n) => n).sort((a, b) => (run.nodes[a].community ?? 0) - (run.nodes[b].community ?? 0) || a - b), shared = learnedFrom(page, run), most = Math.max(1, ...shared.flatMap((row, a) => row.filter((_, b) => a !== b)));
    const left = 44, cell = Math.max(5, Math.min(26, (width - left - 4) / order.length)), size = left + cell * order.length;
    const label = (n) => `${run.nodes[n].short ?? n + 1}${letterOf(run.nodes[n].community)}`;
    drawing.setAttribute("width", Math.min(width, size + 4));
    drawing.setAttribute("height", size + 4);
    drawing.setAttribute("viewBox", `0 0 ${size + 4} ${size + 4}`);
    drawing.setAttribute("aria-label", "Who learned from whom, and for how long");
    const cells = order.flatMap((a, row) => order.map((b, column) => {
      if (a === b) return svg("rect", { class: "self", x: left + column * cell, y: left + row * cell, width: cell - 1, height: cell - 1 });
      const square = svg("rect", { class: "cell", x: left + column * cell, y: left + row * cell, width: cell - 1, height: cell - 1, "fill-opacity": (0.04 + 0.96 * (shared[a][b] / most)).toFixed(3) });
      square.addEventListener("pointerenter", () => setText(readout, tellsTeachers(run) ? `${nodeName(run.nodes[a])} learned from ${nodeName(run.nodes[b])} in ${countOf(shared[a][b], unitOf(page))}` : `${nodeName(run.nodes[a])} and ${nodeName(run.nodes[b])}: ${countOf(shared[a][b], unitOf(page))} in one group`));
      return square;
    }));
    const edges = order.flatMap((n, at) => (at && run.nodes[n].community !== run.nodes[order[at - 1]].community ? [svg("path", { class: "edge", d: `M${left + at * cell - 0.5} ${left}V${size}M${left} ${left + at * cell - 0.5}H${size}` })] : []));
    const names = cell < 9 ? [] : order.flatMap((n, at) => [svg("text", { class: "tick", x: left - 5, y: left + at * cell + cell / 2 + 4, "text-anchor": "end" }, label(n)), svg("text", { class: "tick", transform: `translate(${left + at * cell + cell / 2 + 4} ${left - 5}) rotate(-90)` }, label(n))]);
    setContent(drawing, cells, edges, names);
    setText(readout, `Between 0 and ${countOf(most, unitOf(page))}. Point at a square to read it; the numbers of one node are in its story above.`);
  });
  return { host, show: (of) => { run = of; setText(words, tellsTeachers(of) ? "A row is a node that learned, a column one it learned from: the darker, the more rounds it had what the other taught in its model. Whom it left out is not counted." : "The darker, the longer two nodes were in one group, each hearing what the other taught."); host.hidden = of.nodes.length > MOST_MATRIX || of.nodes.length < 3; redraw(); } };
}

// --- the rest -------------------------------------------------------------------------------------

function simulationMembers(state) {
  const { page } = state;
  const counts = page.runs.flatMap((run) => run.rounds.map((record) => record.members));
  const parts = [];
  if (new Set(counts).size > 1 || page.events?.length) parts.push(el("h3", {}, "Members"), quantityChart(page, "Members over time", { zero: true, yText: (y) => whole(y), series: () => seriesOf(page, (record) => record.members, "members").map((line) => ({ ...line, stepped: !line.band })) }, 190).host);
  if (page.events?.length) parts.push(el("h3", {}, "What happened"), tableOf("What happened", [{ name: unitOf(page), number: 1 }, { name: "what" }], page.events.map((event) => [String(event.round), seen(event.text, 120)])));
  if (page.runs.some((run) => run.rounds.some((record) => isNumber(record.published_bytes)))) parts.push(el("h3", {}, "Traffic"), quantityChart(page, "Published by a node", { zero: true, yText: bytesText, series: () => seriesOf(page, (record) => record.published_bytes, "published") }, 190).host);
  return parts.length ? { host: section("course", "Course of the runs", parts) } : null;
}

function simulationRuns(state) {
  const { page } = state, { aggregate } = page;
  const rows = page.runs.map((run) => { const last = run.rounds.at(-1) ?? { test: {} }; return [seen(run.label, 60), metricValue(last.test.pooled), metricValue(last.test.mean), metricValue(last.test.worst), page.scenario.several ? (isNumber(last.purity) ? last.purity.toFixed(2) : UNKNOWN) : null, page.scenario.several ? whole(last.moves) : null, bytesText(last.published_bytes)].filter((cell) => cell !== null); });
  const columns = ["run", "all nodes", "mean node", "worst node", ...(page.scenario.several ? ["purity", "moves"] : []), "published"].map((name, n) => ({ name, number: n > 0 }));
  const settings = Object.entries(page.scenario.settings ?? {});
  return { host: section("runs", "Runs",
    aggregate?.length ? [el("h3", {}, "Mean and spread"), tableOf("Mean and spread over the runs", [{ name: "at the end" }, { name: "mean", number: 1 }, { name: "standard deviation", number: 1 }, { name: "least", number: 1 }, { name: "most", number: 1 }], aggregate.map((row) => [seen(row.name, 60), ...["mean", "spread", "least", "most"].map((key) => (row.unit === "B" ? bytesText(row[key]) : isNumber(row[key]) ? String(Number(row[key].toFixed(4))) : UNKNOWN))]))] : null,
    el("h3", {}, "Each run at its end"), tableOf("Each run at its end", columns, rows),
    settings.length ? el("details", { class: "behind" }, el("summary", {}, "Settings of the scenario"), tableOf("Settings of the scenario", [{ name: "key" }, { name: "value" }], settings.map(([key, value]) => [el("code", {}, seen(key, 80)), seen(typeof value === "string" ? value : JSON.stringify(value), 200)]))) : null) };
}
