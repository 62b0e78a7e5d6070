// The page of one session.

import { effect } from "@preact/signals-core";
import { ask, type Overview } from "./api.ts";
import { listenToKeys, makeHead, makeTransport, play } from "./controls.ts";
import { h, shown } from "./dom.ts";
import { makeFindings, makeVerdict } from "./findings.ts";
import { makeLanes } from "./lanes.ts";
import { makePanes } from "./panes.ts";
import * as store from "./store.ts";

const BUILDING_MS = 250;

const app = document.getElementById("app")!;
const lanes = makeLanes();
const notice = h("p", { class: "notice", role: "alert", hidden: true });
const building = h("p", { class: "building", role: "status" }, "Reading the session …");
app.replaceChildren(
  makeHead(),
  h("div", { class: "top" }, makeVerdict(), makeFindings()),
  h("main", {}, h("div", { class: "stage" }, building, lanes.element, makeTransport()), makePanes()),
  notice,
);
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

async function start(): Promise<void> {
  for (;;) {
    const found = await ask<Overview>("overview");
    if (found.state === "ready") {
      building.hidden = true;
      store.begin(found);
      return;
    }
    building.textContent = `Reading the session … ${Math.round(found.progress * 100)} %`;
    await new Promise((done) => setTimeout(done, BUILDING_MS));
  }
}

start().catch((error: Error) => {
  building.textContent = `The session cannot be shown: ${shown(error.message, 400)}`;
});
