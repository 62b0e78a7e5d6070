// The first screen: one line of verdict, and what `debug` found, before what happened.

import { batch, effect, signal } from "@preact/signals-core";
import { answered, ask, type Cause, type Findings, Latest, mayFork, type Overview, type Place, tested } from "./api.ts";
import { duration, plural } from "./axis.ts";
import { h, refill, shown } from "./dom.ts";
import * as store from "./store.ts";

const CERTAIN = 0.5;
const TEST = "Test by forks";

export function makeVerdict(): HTMLElement {
  const parent = h("p", { class: "verdict", role: "status" });
  effect(() => {
    const found = store.overview.value;
    if (found === null) return;
    const status = {
      running: ["running", ""], ended: ["ended", ""], killed: ["killed before its end", "bad"], unknown: ["end unknown", "warn"],
    }[found.status]!;
    const isRead = found.state === "ready";
    const parts = [
      !isRead && h("span", { class: "warn" }, `reading the session, ${Math.round(found.progress * 100)} %`),
      h("span", { class: found.errors ? "bad" : isRead ? "good" : "" }, found.errors ? plural(found.errors, "error") : isRead ? "No errors" : "no errors yet"),
      isRead && h("span", { class: found.lost ? "bad" : "" }, found.lost ? `${plural(found.lost, "event")} lost` : "nothing lost"),
      h("span", {}, plural(found.events, "event")),
      h("span", {}, plural(found.agents, "agent")),
      found.ticks.length > 0 && h("span", {}, plural(found.ticks.length, "tick")),
      h("span", {}, duration(found.length_us)),
      h("span", { class: status[1]! }, status[0]!),
      isRead && h("span", { class: found.replay.can ? "good" : "", title: shown(found.replay.text, 300) }, found.replay.can ? "can be replayed" : "cannot be replayed"),
    ];
    parent.replaceChildren(h("span", { class: "parts" }, ...parts));
  });
  return parent;
}

/** What a card and its pane call a finding: without the agent, which stands above. */
export function headline(cause: Cause): string {
  const text = cause.title || cause.sentence;
  const agent = cause.events[0]?.agent;
  return agent != null && text.startsWith(`${agent}: `) ? text.slice(agent.length + 2) : text;
}

export function sureness(cause: Cause): HTMLElement {
  const isLikely = cause.confidence >= CERTAIN;
  return h("span", { class: isLikely ? "sure" : "unsure" }, `${isLikely ? "likely" : "a hint"}, ${Math.round(cause.confidence * 100)} %`);
}

export function place(cause: Cause): string {
  const start = cause.events[0];
  const when = start?.tick != null ? `tick ${start.tick}` : start?.t != null ? duration(start.t) : "";
  return [start?.agent, when].filter(Boolean).map((each) => shown(String(each), 60)).join(" · ");
}

export function makeFindings(): HTMLElement {
  const found = signal<Findings | null>(null);
  const asked = signal("");
  const list = h("ol", { class: "cards" });
  const heading = h("h2", {}, "What is wrong");
  const words = h("input", { type: "text", placeholder: "What bothers you? e.g. creator_017 stopped publishing", "aria-label": "Describe what is wrong", maxlength: 2000 });
  const form = h("form", { class: "ask" }, words, h("button", { type: "submit" }, "Explain"));
  const test = h("button", { class: "tester", type: "button", title: "Run the program again with and without each cause", hidden: true }, TEST);
  const element = h("section", { class: "findings", "aria-label": "Findings" }, h("div", { class: "head" }, heading, test, form), list);
  const latest = new Latest();
  effect(() => {
    element.hidden = store.compared.value !== null;
  });

  let isLoading = false;

  async function load(): Promise<void> {
    found.value = null;
    const text = asked.value;
    const answer = await latest.run((signal) => answered<Findings>("findings", { q: text }, signal));
    if (answer === undefined) return;
    batch(() => {
      found.value = answer;
      store.causes.value = answer.causes;
      const isFresh = store.cursor.value === (at ?? 0) && store.eventId.value === null && store.agents.value.join() === chosen;
      if (text) store.openFinding(0);
      else if (store.findingNumber.value !== null) store.openFinding(store.findingNumber.value, { moves: false });
      else if (isFresh && answer.causes[0] && store.overview.value?.status !== "running") start(answer.causes[0]);
    });
  }

  /** Where the cursor was put before anybody moved it, and what was chosen there. */
  let at: number | null = null;
  let chosen = "";

  /** Until the findings are there, the cursor stands at the first error of the lane most in trouble, or at the end. */
  async function begin(found: Overview): Promise<void> {
    if (store.cursor.value !== 0 || store.eventId.value !== null || store.agents.value.length > 0 || store.findingNumber.value !== null) return;
    if (found.status === "running") return store.toNow(); // and follows
    const first = found.errors > 0 ? await ask<Place>("step", { t: 0, by: "error", direction: 1, lanes: 0 }) : null;
    if (store.cursor.value !== 0 || store.agents.value.length > 0) return;
    const lane = first?.lane === undefined ? undefined : found.lanes[first.lane];
    if (lane !== undefined) store.choose(lane.agent);
    store.moveTo(first?.t ?? found.length_us);
    at = store.cursor.value;
    chosen = store.agents.value.join();
  }

  /** The cursor begins at the first finding, with its path drawn, and nothing open. */
  function start(cause: Cause): void {
    const [first] = cause.events;
    if (first?.agent != null && store.laneOf.value.has(first.agent)) store.choose(first.agent);
    if (first?.t != null) store.moveTo(cause.t ?? first.t);
    store.draw(cause);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    asked.value = words.value.trim();
    store.findingNumber.value = null;
    void load().catch(fail);
  });

  test.addEventListener("click", () => {
    const text = asked.value;
    test.disabled = true;
    test.textContent = "Forks run with and without each cause …";
    void tested(text).then((answer) => {
      if (text !== asked.value) return;
      batch(() => {
        found.value = answer;
        store.causes.value = answer.causes;
        store.notice.value = answer.tests.join("; ");
        if (answer.causes.length > 0) store.openFinding(0);
      });
    }).catch((error: Error) => (store.notice.value = `Nothing was tested: ${error.message}`)).finally(() => {
      test.disabled = false;
      test.textContent = TEST;
    });
  });

  function fail(error: Error): void {
    found.value = { state: "ready", status: "failed", causes: [], tests: [] };
    store.causes.value = [];
    store.notice.value = `The findings cannot be computed: ${error.message}`;
  }

  effect(() => {
    const answer = found.value;
    const open = store.finding.value;
    heading.textContent = asked.value ? "What explains it" : "What is wrong";
    test.hidden = !mayFork || !answer?.causes.length;
    if (answer === null) {
      list.replaceChildren(...[0, 1, 2].map((n) => h("li", { class: "card pending" }, n === 0 && h("span", { class: "where", role: "status" }, "Looking for what is wrong …"))));
      return;
    }
    if (answer.causes.length === 0) {
      const errors = store.overview.value?.errors ?? 0;
      const words = answer.status === "failed" ? "The findings cannot be computed." : asked.value ? "Nothing found that explains this." : errors > 0 ? `No cause stands out. Press ] to step through ${plural(errors, "error")}.` : "Nothing stands out in this session.";
      list.replaceChildren(h("li", { class: "card none" }, words));
      return;
    }
    refill(list, answer.causes.map((cause, n) =>
      h("li", {}, h(
        "button", { class: "card", type: "button", "data-key": `finding${n}`, "aria-pressed": cause === open ? "true" : "false", onclick: () => store.openFinding(n) },
        h("span", { class: "where" }, place(cause), sureness(cause)),
        h("span", { class: "title" }, shown(headline(cause), 220)),
      )),
    ));
  });

  effect(() => {
    const overview = store.overview.value;
    if (overview?.state !== "ready" || isLoading || store.compared.value !== null) return;
    isLoading = true;
    void begin(overview).catch(() => undefined).then(load).catch(fail);
  });
  return element;
}
