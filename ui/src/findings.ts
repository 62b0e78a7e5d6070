// The first screen: one line of verdict, and what `debug` found, before what happened.

import { effect, signal } from "@preact/signals-core";
import { ask, type Cause, type Findings, Latest } from "./api.ts";
import { duration, plural } from "./axis.ts";
import { h, shown } from "./dom.ts";
import * as store from "./store.ts";

const POLL_MS = 700;
const CERTAIN = 0.5;

export function makeVerdict(): HTMLElement {
  const parent = h("p", { class: "verdict", role: "status" });
  effect(() => {
    const found = store.overview.value;
    if (found === null) return;
    const status = {
      running: ["running", ""], ended: ["ended", ""], killed: ["killed before its end", "bad"], unknown: ["end unknown", "warn"],
    }[found.status]!;
    const parts = [
      h("span", { class: found.errors ? "bad" : "good" }, found.errors ? plural(found.errors, "error") : "No errors"),
      h("span", { class: found.lost ? "bad" : "" }, found.lost ? `${plural(found.lost, "event")} lost` : "nothing lost"),
      h("span", {}, plural(found.events, "event")),
      h("span", {}, plural(found.agents, "agent")),
      found.ticks.length > 0 && h("span", {}, plural(found.ticks.length, "tick")),
      h("span", {}, duration(found.length_us)),
      h("span", { class: status[1]! }, status[0]!),
      h("span", { class: found.replay.can ? "good" : "" }, shown(found.replay.text, 80)),
    ];
    parent.replaceChildren(...parts.filter((part) => part !== false));
  });
  return parent;
}

export function makeFindings(): HTMLElement {
  const found = signal<Findings | null>(null);
  const asked = signal("");
  const list = h("ol", { class: "cards" });
  const heading = h("h2", {}, "What is wrong");
  const words = h("input", { type: "text", placeholder: "What bothers you? e.g. creator_017 stopped publishing", "aria-label": "Describe what is wrong" });
  const form = h("form", { class: "ask" }, words, h("button", { type: "submit" }, "Explain"));
  const element = h("section", { class: "findings", "aria-label": "Findings" }, h("div", { class: "head" }, heading, form), list);
  const latest = new Latest();

  async function load(): Promise<void> {
    found.value = null;
    const text = asked.value;
    const answer = await latest.run(async (signal) => {
      for (;;) {
        const each = await ask<Findings>("findings", { q: text }, signal);
        if (each.state === "ready") return each;
        await new Promise((done) => setTimeout(done, POLL_MS));
        if (signal.aborted) return undefined;
      }
    });
    if (answer === undefined) return;
    found.value = answer;
    const first = answer.causes[0];
    const isFresh = store.cursor.value === 0 && store.eventId.value === null && store.agents.value.length === 0;
    if (first && isFresh) show(first, false); // the cursor begins at the first finding
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    asked.value = words.value.trim();
    void load().catch((error: Error) => (store.notice.value = error.message));
  });

  function show(cause: Cause, opens: boolean): void {
    const start = cause.events[0];
    if (start === undefined) return;
    if (opens) {
      void store.open(start.id).then(() => draw(cause));
      return;
    }
    if (start.agent !== null) store.choose(start.agent);
    if (start.t !== null) store.moveTo(start.t);
    draw(cause);
  }

  /** The finding's own path instead of the causes of its first event. */
  function draw(cause: Cause): void {
    if (cause.edges.length > 0) store.links.value = { edges: cause.edges, nodes: cause.events };
  }

  effect(() => {
    const answer = found.value;
    heading.textContent = asked.value ? "Explained" : "What is wrong";
    if (answer === null) {
      list.replaceChildren(...[0, 1, 2].map(() => h("li", { class: "card pending", "aria-label": "Looking for causes" })));
      return;
    }
    if (answer.causes.length === 0) {
      list.replaceChildren(h("li", { class: "card none" }, asked.value ? "Nothing found that explains this." : "Nothing stands out in this session."));
      return;
    }
    list.replaceChildren(
      ...answer.causes.map((cause, n) => {
        const start = cause.events[0];
        const where = [start?.agent, start?.tick != null ? `tick ${start.tick}` : start?.t != null ? duration(start.t) : ""].filter(Boolean);
        const card = h(
          "button", { class: "card", type: "button", "data-key": `finding${n}`, onclick: () => show(cause, true) },
          h("span", { class: "where" }, where.map((each) => shown(String(each), 60)).join(" · ")),
          h("span", { class: "title" }, shown(cause.sentence || cause.title, 220)),
          h("span", { class: cause.confidence >= CERTAIN ? "sure" : "unsure" }, cause.confidence >= CERTAIN ? `likely, ${Math.round(cause.confidence * 100)} %` : `a hint, ${Math.round(cause.confidence * 100)} %`),
        );
        return h("li", {}, card);
      }),
    );
  });

  effect(() => {
    if (store.overview.value?.state === "ready" && found.peek() === null) {
      void load().catch((error: Error) => {
        found.value = { state: "ready", status: "failed", causes: [] };
        store.notice.value = `The findings cannot be computed: ${error.message}`;
      });
    }
  });
  return element;
}
