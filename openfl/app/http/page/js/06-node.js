// The page of one node, live or frozen. state: {page: the document, live: {ask} or null, events: []}.

const RUNNING = { starting: "starting", joining: "looking for its group", learning: "learning", waiting: "waiting for others", done: "done with its rounds, serving others", stopping: "stopping", stopped: "not running" };
const ACTIONS = { move: "its own decision", found: "its own decision", switch: "your decision", joined: "its first group" };

// Rounds on the x axis where they only ever grow, else the points one by one.
function axisOf(points) {
  const grows = points.every((point, n) => n === 0 || point.round > points[n - 1].round);
  return { at: grows ? (n) => points[n].round : (n) => n, name: grows ? "round" : "points of the curve, oldest first", indexOf: (x) => (grows ? points.findIndex((point) => point.round === x) : x) };
}

function coursePoints(page) {
  const points = page.course?.points ?? [];
  if (points.length) return points;
  const { history, alone, round, group_name } = page.snapshot;  // a node that keeps no course yet
  return history.map((validation, n) => ({ time: null, round: round - history.length + 1 + n, group: group_name, validation, alone, members: null, bytes_sent: null, bytes_received: null }));
}

// The moves, with numbers: the first group is joined, which is none.
function numberedMoves(page) {
  let number = 0;
  return (page.course?.moves ?? []).map((move) => ({ ...move, number: move.action === "joined" ? null : (number += 1) }));
}

// Those from one group to another, with their place on the x axis of the points.
function placedMoves(page, points, axis) {
  return numberedMoves(page).filter((move) => move.number !== null && points.length).map((move) => {
    const at = points.findIndex((point) => isNumber(point.time) && point.time >= move.time);
    return { ...move, x: axis.at(at < 0 ? points.length - 1 : at) };
  });
}

function moveText(move) {
  if (move.action === "joined" || !move.from) return ["Began in ", named(move.to)];
  if (move.action === "found") return ["Left ", named(move.from), " and founded ", named(move.to)];
  const verb = move.action === "switch" ? "You sent it " : "Moved ";
  if (move.from === move.to) return [verb, "to another group called ", named(move.to)];
  return [verb, "from ", named(move.from), " to ", named(move.to)];
}

function heroSection(state) {
  const big = el("p", { class: "big" }), how = el("p", { class: "lead" }), facts = el("div", {});
  const host = el("section", { id: "now", class: "hero", "aria-labelledby": "now-title", "data-nav": "Now" }, el("h2", { id: "now-title", class: "unseen" }, "Now"), big, how, facts);
  const figuresShown = new Map();
  function update() {
    const shot = state.page.snapshot, name = metricName(shot.metric);
    const against = comparison(shot.validation, shot.alone);
    if (against) {
      setWhenChanged(big, against.text, "With the group it predicts ", el("strong", { class: against.better === false ? "worse" : "better" }, against.amount), against.better === null ? " as alone." : " than alone.");
      setText(how, `${name} ${metricValue(shot.validation)} with the group, ${metricValue(shot.alone)} with a model of this node's own data alone: ${metricMeaning(shot.metric)}, on data held back from training; lower is better.`);
    } else {
      const text = isNumber(shot.validation) ? `Its error is ${metricValue(shot.validation)} (${name}).` : "It has not judged its model yet.";
      setWhenChanged(big, text, text);
      setText(how, isNumber(shot.validation) ? "What its own data alone would give is still being worked out." : `It is ${RUNNING[shot.phase] ?? "on its way"}; the first judgement comes with the first round.`);
    }
    const others = shot.members.filter((member) => !member.me).length;
    const wanted = [
      ["Group", seen(shot.group_name, 40) || UNKNOWN, RUNNING[shot.phase] ?? seen(shot.phase, 20)],
      ["Round", shot.rounds ? `${whole(shot.round)} of ${whole(shot.rounds)}` : whole(shot.round), isNumber(shot.interval_seconds) && shot.interval_seconds > 0 ? `one every ${spanText(shot.interval_seconds)}` : ""],
      ["Learns with", countOf(others, "other"), shot.switching?.pinned ? "pinned to this group" : shot.switching?.auto ? "free to move" : "stays in this group"],
      ["Your data", whole(shot.train_examples), "examples to learn from; they stay here"],
      ["Model", whole(shot.model_rows), "rows learned by the group"],
      ["Moves", whole(shot.switching?.moves ?? 0), "by its own decision"],
    ];
    if (shot.privacy) wanted.push(["Privacy", `ε ${isNumber(shot.privacy.epsilon_spent) ? shot.privacy.epsilon_spent.toFixed(2) : UNKNOWN}`, `spent of ${shot.privacy.epsilon}`]);
    if (!facts.firstChild) {
      facts.append(figures(wanted.map(([label, value, note]) => [value, label, note || " "])));
      facts.querySelectorAll(".figure").forEach((node, n) => figuresShown.set(wanted[n][0], node));
    }
    for (const [label, value, note] of wanted) {
      const node = figuresShown.get(label);
      if (!node) continue;
      setText(node.querySelector("strong"), value);
      setText(node.querySelector("span"), note || " ");
    }
  }
  return { host, update };
}

function noticeSection(state) {
  const list = el("ul", { class: "notices", "aria-live": "polite", "aria-label": "What needs your attention" });
  const update = () => keyed(list, state.page.snapshot.notices ?? [], (notice) => notice.kind, () => el("li", {}, el("span", { class: "badge warning" }, "Attention"), " ", el("span", {})), (li, notice) => setText(li.lastChild, seen(notice.text, 500)));
  return { host: list, update };
}

function learningSection(state) {
  const words = el("p", { class: "lead" });
  const chart = lineChart("Learning curve", () => {
    const points = coursePoints(state.page), axis = axisOf(points), name = metricName(state.page.snapshot.metric);
    const moves = placedMoves(state.page, points, axis);
    const x = points.map((_, n) => axis.at(n));
    const about = (at) => points[axis.indexOf(at)];
    return {
      x, xName: axis.name, xText: String, yName: `${name}, lower is better`, whole: true,
      yText: (y, exact) => (exact ? metricValue(y) : String(Number(y.toPrecision(3)))),
      series: [
        { name: "with the group", look: "together", points: points.map((point, n) => [x[n], point.validation]) },
        { name: "alone", look: "alone", points: points.map((point, n) => [x[n], point.alone]) },
      ],
      marks: moves.map((move) => ({ x: move.x, text: `${move.number}: ${seen(move.to ?? "", 16)}` })),
      says: (at) => { const point = about(at); return `Round ${point.round}${isNumber(point.time) ? `, ${whenText(point.time, state.page.made_at)}` : ""}, in ${seen(point.group, 30)}${isNumber(point.members) ? ` with ${countOf(Math.max(0, point.members - 1), "other")}` : ""}`; },
      table: () => tableOf("Learning curve", [{ name: "round", number: 1 }, { name: "time" }, { name: "group" }, { name: "members", number: 1 }, { name: `${name} with the group`, number: 1 }, { name: `${name} alone`, number: 1 }],
        points.toReversed().map((p) => [whole(p.round), whenText(p.time, state.page.made_at), named(p.group), whole(p.members), metricValue(p.validation), metricValue(p.alone)])),
    };
  }, 280);
  function update() {
    const points = coursePoints(state.page).filter((point) => isNumber(point.validation));
    const course = points.length > 1 ? comparison(points.at(-1).validation, points[0].validation) : null;
    setText(words, course ? `Since round ${points[0].round} its predictions have become ${course.part >= 0 ? percentText(course.part) + " better" : percentText(course.part) + " worse"}.` : "The curve begins with the first rounds.");
  }
  return { host: section("learning", "Learning", words, chart.host), update, course: () => { update(); chart.update(); } };
}

function movesSection(state) {
  const words = el("p", { class: "lead" }), reasons = el("ol", { class: "reasons" }), now = el("p", {});
  const groups = el("div", {});
  const chart = river("Groups this node has been in, over time", () => {
    const points = coursePoints(state.page), axis = axisOf(points), x = points.map((_, n) => axis.at(n));
    const lanes = [], widths = {};
    for (const point of points) if (!lanes.some((lane) => lane.key === point.group)) lanes.push({ key: point.group, name: point.group });
    for (const lane of lanes) widths[lane.key] = points.map((p, n) => [x[n], p.group === lane.key ? Math.max(1, p.members ?? 1) : null]);
    const most = Math.max(1, ...points.map((point) => point.members ?? 1));
    for (const group of (state.page.groups ?? []).filter((g) => !g.mine && !lanes.some((lane) => lane.key === g.name)).slice(0, 6)) lanes.push({ key: `known ${group.id}`, name: group.name, dim: true, note: `${countOf(group.members, "member")}, not visited${isNumber(group.gain) ? `, ${percentText(group.gain)} ${group.gain < 0 ? "worse" : "better"} for you` : ""}` });
    const path = points.map((point, n) => [x[n], point.group]);
    const moves = placedMoves(state.page, points, axis).filter((move) => lanes.some((lane) => lane.key === move.to));
    return {
      x, xName: axis.name, xText: String, lanes, widths, plain: true, gap: Math.min(16, 110 / most),
      nodes: [{ name: "this node", me: true, path }], marks: [], picked: null,
      numbered: moves.map((move) => ({ x: move.x, to: move.to, number: move.number })),
      hint: `The line is this node; the bed is as wide as its group had members.${moves.length ? " Numbers are the moves below." : ""}`,
      says: () => `This node: ${listText(lanes.filter((lane) => !lane.dim).map((lane) => seen(lane.name, 30)))}`,
    };
  });
  const behind = tableBehind(() => {
    const points = coursePoints(state.page), stays = [];
    for (const point of points) {
      if (stays.at(-1)?.group === point.group) Object.assign(stays.at(-1), { to: point, rounds: stays.at(-1).rounds + 1 });
      else stays.push({ group: point.group, from: point, to: point, rounds: 1 });
    }
    return tableOf("Where this node has been", [{ name: "group" }, { name: "from" }, { name: "until" }, { name: "members then", number: 1 }, { name: "error then", number: 1 }],
      stays.map((stay) => [named(stay.group), `round ${stay.from.round}`, `round ${stay.to.round}`, whole(stay.to.members), metricValue(stay.to.validation)]));
  });
  function update() {
    const shot = state.page.snapshot;
    const why = reason(shot.switching?.why || "it has had no reason to look elsewhere yet");
    setWhenChanged(now, why, el("strong", {}, "Why it is where it is: "), why);
    const known = (state.page.groups ?? []).filter((group) => !group.mine);
    const rows = (state.page.groups ?? []).map((group) => [[named(group.name), group.mine ? " (here)" : ""], whole(group.members), metricValue(group.fit_median), group.mine ? "here" : !group.compatible ? `cannot join: ${seen(group.reason, 160)}` : isNumber(group.gain) ? `${percentText(group.gain)} ${group.gain < 0 ? "worse" : "better"}${isNumber(group.gain_error) ? ` (± ${(100 * group.gain_error).toFixed(1)})` : ""}` : "not tried"]);
    setWhenChanged(groups, JSON.stringify([rows.map((row) => row.slice(1)), known.map((g) => g.name)]), known.length ? tableOf("Groups that are known", [{ name: "group" }, { name: "members", number: 1 }, { name: "their error", number: 1 }, { name: "for you it would be" }], rows) : el("p", { class: "note" }, "It knows of no other group."));
  }
  function course() {
    const moves = numberedMoves(state.page), made = moves.filter((move) => move.number !== null);
    setText(words, made.length ? `It has changed its group ${made.length === 1 ? "once" : `${made.length} times`}, and each time for a reason.` : "It has not changed its group.");
    keyed(reasons, moves.toReversed(), (move) => `${move.number} ${move.time}`, (move) => el("li", move.number === null ? { class: "start" } : { value: move.number },
      el("p", {}, el("strong", {}, moveText(move)), ". ", move.why ? `Why: ${moveReason(move)}` : ""),
      el("p", { class: "note" }, `${whenText(move.time, state.page.made_at)}, round ${whole(move.round)}, ${ACTIONS[move.action] ?? seen(move.action, 20)}`)));
    chart.update();
    behind.refresh();
    update();
  }
  return { host: section("groups", "Groups and moves", words, now, chart.host, behind, reasons, el("h3", {}, "Groups it knows"), groups), update, course };
}

function trafficSection(state) {
  const words = el("p", { class: "lead" });
  const rates = () => {
    const points = coursePoints(state.page).filter((point) => isNumber(point.bytes_sent)), axis = axisOf(points);
    const per = (key, n) => {
      const grown = points[n][key] - points[n - 1][key];  // a restart begins at nothing
      return (grown < 0 ? points[n][key] : grown) / Math.max(1, points[n].round - points[n - 1].round);
    };
    return points.slice(1).map((point, n) => ({ x: axis.at(n + 1), point, sent: per("bytes_sent", n + 1), received: per("bytes_received", n + 1) }));
  };
  const chart = lineChart("Traffic by round", () => {
    const all = rates();
    return {
      x: all.map((rate) => rate.x), xName: "round", xText: String, yName: "bytes in a round", zero: true, whole: true, yText: bytesText,
      series: [{ name: "sent", look: "c1", points: all.map((rate) => [rate.x, rate.sent]) }, { name: "received", look: "c2 dashed", points: all.map((rate) => [rate.x, rate.received]) }],
      says: (at) => `Round ${at}`,
      table: () => tableOf("Traffic by round", [{ name: "round", number: 1 }, { name: "sent", number: 1 }, { name: "received", number: 1 }], all.toReversed().map((rate) => [whole(rate.point.round), bytesText(rate.sent), bytesText(rate.received)])),
    };
  }, 220);
  function update() {
    const shot = state.page.snapshot;
    setText(words, `Sent ${bytesText(shot.bytes_sent)}, received ${bytesText(shot.bytes_received)} since it was started. ${bytesText(shot.published_bytes)} were contributions of its own; ${countOf(shot.deltas_merged, "contribution")} of others went into its model.`);
  }
  return { host: section("traffic", "Traffic", words, chart.host), update, course: () => { update(); chart.update(); } };
}
