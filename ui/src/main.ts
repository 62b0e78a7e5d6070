// The page of one session.

import { effect } from "@preact/signals-core";
import { ask, follow, type Overview } from "./api.ts";
import { makeComparison } from "./compare.ts";
import { makeControl } from "./control.ts";
import { listenToKeys, makeCorner, makeHead, makeTransport, play } from "./controls.ts";
import { duration, plural } from "./axis.ts";
import { h, shown } from "./dom.ts";
import { makeFindings, makeVerdict } from "./findings.ts";
import { makeLanes } from "./lanes.ts";
import { held } from "./offline.ts";
import { makePanes } from "./panes.ts";
import * as store from "./store.ts";

/** How long to wait before asking again of a session that is being read: an index that is there takes a moment. */
const [SOON_MS, BUILDING_MS] = [30, 250];

const app = document.getElementById("app")!;
const lanes = makeLanes();
lanes.element.prepend(makeCorner());
const notice = h("p", { class: "notice", role: "alert", hidden: true });
const building = h("p", { class: "building", role: "status" }, "Reading the session …");
app.replaceChildren(
  makeHead(),
  h("div", { class: "top" }, makeVerdict(), makeControl(), makeComparison(), makeFindings()),
  h("main", {}, h("div", { class: "stage" }, building, lanes.element, makeTransport()), makePanes()),
  notice,
);
if (held !== null) {
  const part = held.sessions[held.session]?.part;
  const words = part ? `This page holds ${plural(part.events, "event")} of the session, ${duration(part.t0)} to ${duration(part.t1)} after its start.` : "This page holds the whole session and asks no server.";
  document.querySelector(".top")!.append(h("p", { class: "hint held" }, words));
  document.body.classList.add("shared");
}
store.mirror();
listenToKeys(lanes.reveal);
play();

let noticeTimer = 0;
effect(() => {
  const text = store.notice.value;
  notice.hidden = !text;
  notice.textContent = shown(text, 400);
  clearTimeout(noticeTimer);
  if (text) noticeTimer = setTimeout(() => (store.notice.value = ""), 6000);
});

effect(() => {
  const lane = store.selectedLanes.value.at(-1);
  if (lane !== undefined) requestAnimationFrame(() => lanes.reveal(lane));
});

/** A moment that the command line named. */
async function goTo(at: string | null): Promise<void> {
  if (at === null) return;
  const found = await ask<{ t: number; event_id: string | null; agent: string | null }>("moment", { at });
  store.given.delete("at");
  store.given.set("t", String(found.t));
  if (found.event_id !== null) store.given.set("event", found.event_id);
  if (found.agent !== null) store.given.append("agent", found.agent);
}

async function start(): Promise<void> {
  for (let wait = SOON_MS; ; wait = Math.min(BUILDING_MS, wait * 1.5)) {
    const found = await ask<Overview>("overview");
    if (found.state === "ready") {
      await goTo(store.given.get("at")).catch((error: Error) => (store.notice.value = error.message));
      building.hidden = true;
      if (store.isAddressed) store.begin(found);
      else store.grow(found);
      if (found.status === "running" && held === null) live();
      return;
    }
    // What an address asks for may not be read yet.
    if (found.lanes.length > 0 && !store.isAddressed) {
      store.grow(found);
      building.hidden = true;
    }
    building.textContent = `Reading the session … ${Math.round(found.progress * 100)} %`;
    await new Promise((done) => setTimeout(done, wait));
  }
}

/** Follow while somebody writes to the session. A page that nobody sees asks nothing. */
function live(): void {
  const stop = follow((found) => {
    store.hear(found);
    if (found.status !== "running") stop();
  });
  document.addEventListener("visibilitychange", () => {
    stop();
    if (!document.hidden) live();
  }, { once: true });
}

// The token of the address has become a cookie; it belongs neither into the history nor into a shared link.
const address = new URL(location.href);
if (address.searchParams.has("token")) {
  address.searchParams.delete("token");
  history.replaceState(null, "", address);
}

start().catch((error: Error) => {
  building.textContent = `The session cannot be shown: ${shown(error.message, 400)}`;
});
