// Recommendations, events, and what there is to know about the node itself.

const RECOMMENDS = new Set(["rating", "implicit"]);
const HOW = { known: "from this user's own data", "folded-in": "from the data given with the question", popular: "nothing is known of this user: what the group likes best" };
const MOST_EVENTS = 500;

function recommendSection(state) {
  const words = el("p", { class: "lead" }), list = el("ol", { class: "songs" }), notes = el("ul", { class: "notes" });
  const input = el("input", { type: "text", id: "user", name: "user", maxlength: "200", autocomplete: "off", spellcheck: "false" });
  const button = el("button", { type: "submit" }, "Recommend");
  const wrong = el("p", { class: "wrong", role: "alert" });
  const form = el("form", { class: "ask" }, el("label", { for: "user" }, "For which user of this node's data?"), input, button);
  let found = null, given = null, answered = false;

  function show(recommendations) {
    found = recommendations;
    const items = found?.items ?? [];
    setContent(words, !found ? "Nothing is recommended yet." : ["For ", named(found.user || "somebody unknown"), `: ${HOW[found.kind] ?? ""}.`]);
    setContent(list, items.map((item) => el("li", {},
      el("span", { class: "song" }, named(item.title || item.song_id, 100)), item.artist ? [" ", el("span", { class: "artist" }, named(item.artist, 100))] : null,
      el("span", { class: "score" }, el("span", { class: "unseen" }, "score "), isNumber(item.score) ? item.score.toFixed(2) : UNKNOWN),
      item.why?.length ? el("p", { class: "note" }, "Because of ", item.why.map((own, n) => [n ? ", " : "", named(own.title || own.song_id, 80)])) : null)));
    setContent(notes, (found?.notes ?? []).map((note) => el("li", {}, seen(note, 400))));
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    setText(wrong, "");
    try {
      const user = input.value.trim();
      show(await state.live.ask(`/api/recommend?top=10&why=1${user ? `&user=${encodeURIComponent(user)}` : ""}`));
      answered = true;  // what was asked for stays, whatever the node recommends by itself
      say(`${countOf(found.items.length, "recommendation")} shown.`);
    } catch (error) {
      setText(wrong, seen(error.message, 300));
    }
    button.disabled = false;
  });
  const host = section("recommendations", "Recommendations", state.live ? form : null, wrong, words, list, notes);
  return { host, update: () => {}, course: () => { if (!answered && (!given || given !== state.page.recommendations)) show((given = state.page.recommendations)); } };
}

function eventSection(state) {
  const filter = el("input", { type: "search", id: "filter", autocomplete: "off", spellcheck: "false" });
  const level = el("select", { id: "level" }, el("option", { value: "" }, "everything"), el("option", { value: "warning" }, "warnings and errors"), el("option", { value: "group" }, "members and groups"), el("option", { value: "round" }, "rounds"));
  const body = el("ol", { class: "events" }), count = el("p", { class: "note", role: "status" });
  const GROUP = /^(joined|left|member-|switched|stayed|not-moved|pinned|left-out|readmitted|useful|founded)/;
  function update() {
    const wanted = filter.value.trim().toLowerCase(), kind = level.value;
    const fits = state.events.filter((event) =>
      (!wanted || `${event.message} ${event.kind}`.toLowerCase().includes(wanted)) &&
      (!kind || (kind === "warning" ? event.level === "warning" || event.level === "error" : kind === "round" ? event.kind === "round" : GROUP.test(event.kind))));
    const shown = fits.slice(-MOST_EVENTS).reverse();
    keyed(body, shown, (event) => event.number, (event) => el("li", { class: event.level },
      el("time", { datetime: new Date(event.time * 1000).toISOString() }, whenText(event.time, state.page.made_at)), " ",
      event.level === "info" || event.level === "debug" ? null : [el("span", { class: `badge ${event.level === "error" ? "error" : "warning"}` }, event.level === "error" ? "Error" : "Warning"), " "],
      el("span", { class: "message" }, seen(event.message, 500)), " ", el("code", {}, seen(event.kind, 40))));
    setText(count, state.events.length ? `${shown.length === state.events.length ? "All" : `${shown.length} of`} ${countOf(state.events.length, "event")} ${shown.length === state.events.length ? "shown" : ""}, newest first.`.replace(" ,", ",") : "Nothing has been told yet.");
  }
  filter.addEventListener("input", update);
  level.addEventListener("change", update);
  const host = section("events", "Events",
    el("div", { class: "ask" }, el("label", { for: "filter" }, "With the words"), filter, el("label", { for: "level" }, "Show"), level),
    count, el("div", { class: "scrolls tall", tabindex: "0", role: "region", "aria-label": "Events, newest first" }, body));
  return { host, update, course: update };
}

// Numbers each event once, and keeps the newest.
function addEvents(state, events) {
  for (const event of events) {
    if (!isNumber(event?.time)) continue;
    const last = state.events.findLast((other) => other.time === event.time && other.kind === event.kind && other.message === event.message);
    if (last) continue;
    state.events.push({ ...event, number: (state.counted = (state.counted ?? 0) + 1) });
  }
  if (state.events.length > 2 * MOST_EVENTS) state.events.splice(0, state.events.length - MOST_EVENTS);
}

function aboutSection(state) {
  const list = el("dl", { class: "about" });
  let before = "";
  function update() {
    const shot = state.page.snapshot, resources = shot.resources;
    const faults = Object.entries(shot.faults ?? {}).filter(([, count]) => count > 0);
    const rows = [
      ["Peer id", [el("code", {}, seen(shot.peer_id, 120)), " ", copyButton(shot.peer_id, "the peer id")], shot.peer_id],
      ["Addresses others can dial", shot.multiaddrs.length ? el("ul", { class: "addresses" }, shot.multiaddrs.slice(0, 12).map((address) => el("li", {}, el("code", {}, seen(address, 200)), " ", copyButton(address, "the address")))) : "none", shot.multiaddrs.join()],
      ["Group", [named(shot.group_name), " ", el("code", {}, seen(shot.group_id, 16))], shot.group_id],
      ["Kind of learning", seen(shot.task, 40), shot.task],
      ["Home folder", el("code", {}, seen(shot.home, 300)), shot.home],
      ["Started", dateText(shot.started_at), shot.started_at],
      ["OpenFL", seen(state.page.version, 40), state.page.version],
      resources ? ["Takes", `${bytesText(resources.memory_bytes)} of memory, ${countOf(resources.connections, "connection")}`, Math.round(resources.memory_bytes / 1e6)] : null,
      shot.items ? ["Items", `${whole(shot.items.known)} of your ${whole(shot.items.mine)} ${seen(shot.items.noun, 20)} are among the group's ${whole(shot.items.group)}`, shot.items.known] : null,
      faults.length ? ["Refused or failed", listText(faults.map(([name, count]) => `${seen(name, 40)} ${whole(count)}`)), JSON.stringify(faults)] : null,
    ].filter(Boolean);
    const now = JSON.stringify(rows.map(([name, , key]) => [name, key]));
    if (now === before) return;
    before = now;
    setContent(list, rows.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  }
  return { host: section("about", "About this node", list), update, course: update };
}
