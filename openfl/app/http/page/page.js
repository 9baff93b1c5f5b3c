"use strict";

const found = new URLSearchParams(location.hash.slice(1)).get("token");
if (found) {
  sessionStorage.setItem("token", found);
  history.replaceState(null, "", location.pathname);
}
const headers = { Authorization: `Bearer ${sessionStorage.getItem("token") || ""}` };
const state = document.getElementById("state");

async function show() {
  const answer = await fetch("/api/page", { headers });
  if (!answer.ok) {
    state.textContent = "open this page by the link that openfl-node web prints";
    return;
  }
  const told = await answer.json();
  document.title = told.title;
  state.textContent = `${told.title}, round ${told.snapshot.round}`;
  document.getElementById("node").textContent = JSON.stringify(told.course.points.slice(-5), null, 1);
}

show().catch(() => { state.textContent = "the node does not answer"; });
