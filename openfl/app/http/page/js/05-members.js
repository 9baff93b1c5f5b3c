// The members of the group: a star around this node, and a table that says the same.

const MOST_IN_STAR = 36;
const MOST_ROWS = 300;

const LINKS = {
  mesh: "connected, passes on the group's messages directly",
  direct: "connected directly",
  relayed: "connected over a relay",
  none: "not connected: heard through others",
};
const PARTS = {
  used: "its contributions are in your model",
  nothing: "nothing of it is in your model yet",
  out: "left out of your model",
};

const linkOf = (peer) => (!peer ? "none" : peer.relayed ? "relayed" : peer.in_mesh ? "mesh" : "direct");
const partOf = (member) => (member.left_out ? "out" : member.rows > 0 ? "used" : "nothing");

function membersOf(snapshot) {
  const peers = new Map(snapshot.peers.map((peer) => [peer.peer_id, peer]));
  const others = snapshot.members.filter((member) => !member.me).map((member) => ({
    ...member, peer: peers.get(member.peer_id) ?? null, link: linkOf(peers.get(member.peer_id)), part: partOf(member),
  }));
  const inside = new Set(snapshot.members.map((member) => member.peer_id));
  const outside = snapshot.peers.filter((peer) => !inside.has(peer.peer_id));
  return { me: snapshot.members.find((member) => member.me) ?? null, others, outside };
}

// Who talks to whom and who is left out, in one paragraph.
function membersText({ others, outside }) {
  if (!others.length) return outside.length ? `Nobody else is in the group. ${countOf(outside.length, "peer")} of other groups ${outside.length === 1 ? "is" : "are"} connected.` : "Nobody else is in the group.";
  const count = (test) => others.filter(test).length;
  const linked = count((m) => m.link !== "none"), relayed = count((m) => m.link === "relayed"), used = count((m) => m.part === "used"), out = others.filter((m) => m.part === "out");
  const over = relayed ? `, ${relayed === linked ? "" : `${relayed} of them `}over a relay` : "";
  const parts = [
    others.length === 1 ? `There is one other member; it is ${linked ? "" : "not "}connected to this node${over}.`
      : `Of ${whole(others.length)} other members ${linked === others.length ? "all" : linked} ${linked === 1 ? "is" : "are"} connected to this node${over}.`,
    `Your model learns from ${used === others.length ? (used === 1 ? "it" : "all of them") : used ? `${whole(used)} of them` : "none of them yet"}.`,
  ];
  if (out.length) parts.push(`Left out: ${listText(out.map((m) => shortPeer(m.peer_id)), 4)}.`);
  if (outside.length) parts.push(`${countOf(outside.length, "more peer")} of other groups ${outside.length === 1 ? "is" : "are"} connected.`);
  return parts.join(" ");
}

const symbol = (part, x, y, r) => svg("g", { class: `who ${part}` },
  svg("circle", { cx: x, cy: y, r }),
  part === "out" ? svg("path", { d: `M${x - r * 0.5} ${y - r * 0.5}L${x + r * 0.5} ${y + r * 0.5}M${x - r * 0.5} ${y + r * 0.5}L${x + r * 0.5} ${y - r * 0.5}` }) : null);

function starLegend() {
  const line = (link) => svg("svg", { class: "swatch", width: 26, height: 12, "aria-hidden": "true" }, svg("path", { class: `link ${link}`, d: "M1 6H25" }));
  const dot = (part) => svg("svg", { class: "swatch", width: 16, height: 16, "aria-hidden": "true" }, symbol(part, 8, 8, 6));
  return el("ul", { class: "legend" },
    Object.entries(LINKS).map(([link, text]) => el("li", {}, line(link), el("span", {}, text))),
    Object.entries(PARTS).map(([part, text]) => el("li", {}, dot(part), el("span", {}, text))));
}

function memberSection(state) {
  const words = el("p", { class: "lead" });
  const drawing = svg("svg", { class: "chart star", role: "img" });
  const stage = el("div", { class: "stage" }, drawing);
  const chosen = el("div", { class: "chosen", "aria-live": "polite" });
  const body = el("tbody", {});
  const more = el("p", { class: "note" });
  let picked = null;

  function choose(id) {
    picked = picked === id ? null : id;
    update();
  }
  function draw(width) {
    const { others, outside } = membersOf(state.page.snapshot);
    const shown = others.slice(0, MOST_IN_STAR);
    const rings = shown.length > 14 ? 2 : 1;
    const height = shown.length <= 3 ? 220 : Math.min(440, Math.max(300, width * 0.5)), cx = width / 2, cy = height / 2;
    drawing.setAttribute("width", width);
    drawing.setAttribute("height", height);
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    drawing.setAttribute("aria-label", `This node and its members. ${membersText({ others, outside })}`);
    const reach = (ring) => [(width / 2 - 66) * (ring ? 1 : rings === 2 ? 0.62 : 1), (height / 2 - 34) * (ring ? 1 : rings === 2 ? 0.58 : 1)];
    const lines = [], dots = [];
    shown.forEach((member, n) => {
      const ring = rings === 2 && n % 2;
      const angle = (2 * Math.PI * n) / shown.length - (shown.length <= 2 ? 0 : Math.PI / 2);
      const [rx, ry] = reach(ring);
      const [x, y] = [cx + Math.min(rx, ry * 1.9) * Math.cos(angle), cy + ry * Math.sin(angle)];
      lines.push(svg("path", { class: `link ${member.link}`, d: `M${cx.toFixed(1)} ${cy.toFixed(1)}L${x.toFixed(1)} ${y.toFixed(1)}` }));
      const group = svg("g", { class: picked === member.peer_id ? "node picked" : "node" },
        symbol(member.part, x, y, 9),
        svg("text", { class: "tick", x, y: y + (Math.sin(angle) < -0.2 ? -15 : 24), "text-anchor": "middle" }, shortPeer(member.peer_id)));
      group.addEventListener("click", () => choose(member.peer_id));
      dots.push(group);
    });
    setContent(drawing, lines, dots,
      svg("g", { class: "who me" }, svg("circle", { cx, cy, r: 15 }), svg("text", { class: "me-text", x: cx, y: cy + 4, "text-anchor": "middle" }, "you")));
  }
  const { redraw } = responsive(stage, draw);

  function detail(member) {
    const addresses = member.peer?.multiaddrs ?? [];
    return [
      el("h3", {}, `Member ${shortPeer(member.peer_id)}`),
      el("p", {}, sentence(PARTS[member.part]), " ", member.left_out ? `Why: ${reason(member.left_out)}` : "", " ", sentence(LINKS[member.link]),
        member.rows ? ` It has told of ${whole(member.rows)} rows of the model.` : ""),
      el("p", {}, el("code", {}, seen(member.peer_id, 120)), " ", copyButton(member.peer_id, "the peer id")),
      addresses.length ? el("ul", { class: "addresses" }, addresses.slice(0, 8).map((address) => el("li", {}, el("code", {}, seen(address, 200))))) : null,
    ];
  }
  function row(member) {
    const button = el("button", { type: "button", class: "plain", onclick: () => choose(member.peer_id) }, shortPeer(member.peer_id));
    return el("tr", {}, el("th", { scope: "row" }, button), ...Array.from({ length: 6 }, (_, n) => el("td", { class: n === 1 || n === 2 || n === 3 || n === 4 ? "number" : null })));
  }
  function fillRow(tr, member) {
    const [head, ...cells] = tr.children;
    head.firstChild.setAttribute("aria-expanded", String(picked === member.peer_id));
    const part = member.part === "out" ? `left out: ${seen(member.left_out, 160)}` : member.part === "used" ? (member.history === false ? "yes, still little known" : "yes") : "nothing yet";
    [part, whole(member.round), whole(member.rows), metricValue(member.fit), ageText(member.age_seconds), { mesh: "direct, in the mesh", direct: "direct", relayed: "over a relay", none: "not connected" }[member.link]]
      .forEach((text, n) => setText(cells[n], text));
  }
  let before = "";
  function update() {
    const shot = state.page.snapshot, members = membersOf(shot);
    setText(words, membersText(members));
    keyed(body, members.others.slice(0, MOST_ROWS), (m) => m.peer_id, row, fillRow);
    setText(more, members.others.length > MOST_ROWS ? `Only the first ${MOST_ROWS} are listed.` : members.others.length > MOST_IN_STAR ? `The picture shows the first ${MOST_IN_STAR}, the table all.` : "");
    const member = members.others.find((m) => m.peer_id === picked);
    const now = JSON.stringify([picked, members.others.map((m) => [m.peer_id, m.link, m.part])]);
    if (now === before) return;
    before = now;
    setContent(chosen, member ? detail(member) : []);
    redraw();
  }
  const host = section("members", "Members", words,
    el("div", { class: "figure-box" }, starLegend(), stage, chosen),
    el("div", { class: "scrolls", tabindex: "0", role: "region", "aria-label": "Members of the group" },
      el("table", {}, el("caption", { class: "unseen" }, "Members of the group: choose one for details"),
        el("thead", {}, el("tr", {}, [["member"], ["in your model"], ["round", 1], ["rows", 1], ["its own error", 1], ["heard", 1], ["connection"]].map(([name, number]) => el("th", { scope: "col", class: number ? "number" : null }, name)))),
        body)), more);
  return { host, update };
}
