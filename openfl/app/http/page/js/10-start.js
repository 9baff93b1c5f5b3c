// From the shell to the page.

const THEME_KEY = "openfl-theme";

function themeSwitch() {
  const root = document.documentElement, choice = document.getElementById("theme");
  const kept = () => { try { return localStorage.getItem(THEME_KEY) ?? ""; } catch { return ""; } };
  const use = (theme) => (theme ? root.setAttribute("data-theme", theme) : root.removeAttribute("data-theme"));
  choice.value = ["light", "dark"].includes(kept()) ? kept() : "";
  use(choice.value);
  choice.addEventListener("change", () => {
    use(choice.value);
    try { localStorage.setItem(THEME_KEY, choice.value); } catch { /* for this time only, then */ }
  });
}

function build(sections) {
  const main = document.getElementById("main"), links = document.getElementById("links");
  setContent(main, sections.map((part) => part.host));
  const parts = [...main.querySelectorAll("[data-nav]")];
  setContent(links, parts.map((part) => el("li", {}, el("a", { href: `#${part.id}` }, part.dataset.nav))));
  const marks = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) for (const link of links.querySelectorAll("a")) {
      if (link.hash === `#${entry.target.id}`) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  parts.forEach((part) => marks.observe(part));
}

function stand(word, text) {
  const place = document.getElementById("stand");
  place.className = `stand ${word}`;
  setText(place, text);
}

function title(text) {
  setText(document.getElementById("title"), text);
  document.title = `${text} · OpenFL`;
}

function nodePage(state) {
  const sections = [noticeSection(state), heroSection(state), learningSection(state), movesSection(state), memberSection(state), recommends(state) ? recommendSection(state) : null, trafficSection(state), eventSection(state), aboutSection(state)].filter(Boolean);
  build(sections);
  const all = () => sections.forEach((part) => { part.update(); part.course?.(); });
  const now = () => sections.forEach((part) => part.update());
  return { all, now };
}

const recommends = (state) => RECOMMENDS.has(state.page.snapshot.task) || Boolean(state.page.recommendations);

function frozen(page) {
  stand("frozen", `As it was ${dateText(page.made_at)}; this page does not change`);
  title(seen(page.title, 100));
  if (page.kind === "simulation") {
    build([simulationHero, simulationLearning, simulationGroups, simulationMembers, simulationRuns].map((make) => make({ page })).filter(Boolean));
    return;
  }
  const state = { page, live: null, events: [] };
  addEvents(state, page.snapshot.events ?? []);
  nodePage(state).all();
}

function running() {
  const token = takeToken();
  const main = document.getElementById("main");
  if (!token) {
    stand("refused", "Not connected");
    setContent(main, el("section", { class: "hero", "aria-labelledby": "no-token" }, el("h2", { id: "no-token" }, "Open this page by its link"), el("p", { class: "lead" }, "The link has a key to your node in it. To see it: ", el("code", {}, "openfl-node web"))));
    return;
  }
  const state = { page: null, live: liveOf(token), events: [] };
  let view = null, shown = false, asked = 0;
  async function again() {
    asked = Date.now();
    try { show(await state.live.ask("/api/page")); } catch { /* the stream will tell */ }
  }
  function show(page) {
    state.page = page;
    state.page.course ??= { points: [], moves: [] };
    asked = Date.now();
    addEvents(state, page.snapshot.events ?? []);
    title(seen(page.title, 100));
    if (!view || shown !== recommends(state)) view = nodePage(state);  // before its first group a node has no task yet
    shown = recommends(state);
    view.all();
  }
  function hear(event, data) {
    const { course } = state.page;
    state.page.made_at = Date.now() / 1000;
    if (event === "snapshot") {
      const before = state.page.snapshot;
      state.page.snapshot = data;
      if (before.group_name !== data.group_name) say(`The node is in ${seen(data.group_name, 40)} now.`);
      addEvents(state, data.events ?? []);
      view.now();
      if (before.group_id !== data.group_id || Date.now() - asked > 300_000) again();
    } else if (event === "told") {
      addEvents(state, [data]);
      if (data.level === "error" || data.kind === "switched") say(seen(data.message, 200));
    } else if (event === "point") {
      if (course.points.at(-1)?.time !== data.time) course.points.push(data);
      if (course.points.length > 1000) again();
      view.all();
    } else if (event === "move") {
      if (course.moves.at(-1)?.time !== data.time) course.moves.push(data);
      view.all();
    } else if (event === "groups") {
      state.page.groups = data;
      view.now();
    }
  }
  stand("waiting", "Connecting");
  follow(state.live, show, hear, stand);
}

themeSwitch();
const inlined = document.getElementById("document");
if (inlined) frozen(JSON.parse(inlined.textContent));
else running();
